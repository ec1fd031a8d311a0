//! The largest flow through a network (Dinitz, 1970).

use std::collections::VecDeque;

/// A network in the making.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    /// Edges out of each node, by place in `edges`.
    out: Vec<Vec<usize>>,
    /// Where each edge ends, and what still fits through it. Each edge's reverse is beside it.
    edges: Vec<(usize, u64)>,
}

impl Flow {
    /// A network of some nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            out: vec![Vec::new(); nodes],
            edges: Vec::new(),
        }
    }

    /// A further node.
    pub(crate) fn node(&mut self) -> usize {
        self.out.push(Vec::new());
        self.out.len() - 1
    }

    /// A further edge.
    pub(crate) fn edge(&mut self, from: usize, to: usize, width: u64) {
        self.out[from].push(self.edges.len());
        self.edges.push((to, width));
        self.out[to].push(self.edges.len());
        self.edges.push((from, 0));
    }

    /// Whether so much can flow at once. The network is used up by asking.
    pub(crate) fn fits(&mut self, source: usize, sink: usize, wanted: u64) -> bool {
        let mut sent = 0;
        while sent < wanted {
            let levels = self.levels(source);
            if levels[sink] == usize::MAX {
                return false;
            }
            let mut next = vec![0; self.out.len()];
            let before = sent;
            loop {
                let more = self.push(source, sink, wanted - sent, &levels, &mut next);
                if more == 0 {
                    break;
                }
                sent += more;
            }
            if sent == before {
                return false;
            }
        }
        true
    }

    fn levels(&self, source: usize) -> Vec<usize> {
        let mut levels = vec![usize::MAX; self.out.len()];
        levels[source] = 0;
        let mut queue = VecDeque::from([source]);
        while let Some(node) = queue.pop_front() {
            for edge in &self.out[node] {
                let (to, width) = self.edges[*edge];
                if width > 0 && levels[to] == usize::MAX {
                    levels[to] = levels[node] + 1;
                    queue.push_back(to);
                }
            }
        }
        levels
    }

    /// Sends along one path. Paths are as short as rows are nested, but may turn back and forth
    /// through reverse edges, so that the stack is our own.
    fn push(
        &mut self,
        source: usize,
        sink: usize,
        limit: u64,
        levels: &[usize],
        next: &mut [usize],
    ) -> u64 {
        let mut path: Vec<usize> = Vec::new();
        let mut node = source;
        loop {
            if node == sink {
                let width = path.iter().map(|e| self.edges[*e].1).fold(limit, u64::min);
                for edge in &path {
                    self.edges[*edge].1 -= width;
                    self.edges[edge ^ 1].1 += width;
                }
                return width;
            }
            let mut onward = None;
            while let Some(edge) = self.out[node].get(next[node]) {
                let (to, width) = self.edges[*edge];
                if width > 0 && levels[to] == levels[node] + 1 {
                    onward = Some((*edge, to));
                    break;
                }
                next[node] += 1;
            }
            match (onward, path.pop()) {
                (Some((edge, to)), last) => {
                    path.extend(last);
                    path.push(edge);
                    node = to;
                }
                (None, Some(last)) => {
                    node = self.edges[last ^ 1].0;
                    next[node] += 1;
                }
                (None, None) => return 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wider_than_the_narrowest_cut_does_not_fit() {
        let network = || {
            let mut flow = Flow::new(4);
            flow.edge(0, 2, 3);
            flow.edge(0, 3, 2);
            flow.edge(2, 3, 5);
            flow.edge(2, 1, 2);
            flow.edge(3, 1, 3);
            flow
        };
        assert!(network().fits(0, 1, 5));
        assert!(!network().fits(0, 1, 6));
    }

    #[test]
    fn a_way_taken_too_early_is_given_back() {
        let mut flow = Flow::new(6);
        // The first path found takes the middle edge, which only the second needs.
        for (from, to) in [(0, 2), (0, 3), (2, 4), (2, 5), (3, 4), (4, 1), (5, 1)] {
            flow.edge(from, to, 1);
        }
        assert!(flow.fits(0, 1, 2));
    }
}
