//! The parts of a CSAF document that are read (CSAF 2.0 section 3, and what 2.1 moved), and nothing
//! of the rest.

use serde::Deserialize;

use crate::lenient::{List, Object, Text};

macro_rules! members {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $member:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[allow(clippy::struct_field_names, reason = "the standard's own names")]
        #[serde(default)]
        pub(super) struct $name<'a> {
            $($(#[$attr])* #[serde(borrow)] pub(super) $member: $kind,)*
        }
    };
}

members! {
    /// The whole.
    Csaf {
        document: Object<Document<'a>>,
        product_tree: Object<ProductTree<'a>>,
        vulnerabilities: List<Object<Vulnerability<'a>>>,
    }
}

members! {
    /// Section 3.2.1.
    Document {
        aggregate_severity: Object<AggregateSeverity<'a>>,
        category: Text<'a>,
        csaf_version: Text<'a>,
        publisher: Object<Publisher<'a>>,
        title: Text<'a>,
        tracking: Object<Tracking<'a>>,
    }
}

members! {
    /// Section 3.2.1.2.
    AggregateSeverity {
        text: Text<'a>,
    }
}

members! {
    /// Section 3.2.1.8.
    Publisher {
        category: Text<'a>,
        name: Text<'a>,
        namespace: Text<'a>,
    }
}

members! {
    /// Section 3.2.1.12.
    Tracking {
        current_release_date: Text<'a>,
        id: Text<'a>,
        status: Text<'a>,
    }
}

members! {
    /// Section 3.2.2.
    ProductTree {
        branches: List<Object<Branch<'a>>>,
        full_product_names: List<Object<Product<'a>>>,
        relationships: List<Object<Relationship<'a>>>,
    }
}

members! {
    /// Section 3.1.2.
    Branch {
        branches: List<Object<Branch<'a>>>,
        category: Text<'a>,
        name: Text<'a>,
        product: Object<Product<'a>>,
    }
}

members! {
    /// Section 3.1.3.
    Product {
        name: Text<'a>,
        product_id: Text<'a>,
        product_identification_helper: Object<Helper<'a>>,
    }
}

members! {
    /// Section 3.1.3.3. CSAF 2.1 has several package URLs.
    Helper {
        cpe: Text<'a>,
        purl: Text<'a>,
        purls: List<Text<'a>>,
    }
}

members! {
    /// Section 3.2.2.4.
    Relationship {
        full_product_name: Object<Product<'a>>,
        product_reference: Text<'a>,
        relates_to_product_reference: Text<'a>,
    }
}

members! {
    /// Section 3.2.3. CSAF 2.1 has `cwes` and `metrics`.
    Vulnerability {
        cve: Text<'a>,
        cwe: Object<Cwe<'a>>,
        cwes: List<Object<Cwe<'a>>>,
        flags: List<Object<Flag<'a>>>,
        ids: List<Object<Id<'a>>>,
        metrics: List<Object<Metric<'a>>>,
        product_status: Object<ProductStatus<'a>>,
        remediations: List<Object<Remediation<'a>>>,
        scores: List<Object<Score<'a>>>,
        threats: List<Object<Threat<'a>>>,
        title: Text<'a>,
    }
}

members! {
    /// Section 3.2.3.3.
    Cwe {
        id: Text<'a>,
    }
}

members! {
    /// Section 3.2.3.5.
    Flag {
        label: Text<'a>,
        product_ids: List<Text<'a>>,
    }
}

members! {
    /// Section 3.2.3.6.
    Id {
        text: Text<'a>,
    }
}

members! {
    /// Section 3.2.3.9.
    ProductStatus {
        first_affected: List<Text<'a>>,
        first_fixed: List<Text<'a>>,
        fixed: List<Text<'a>>,
        known_affected: List<Text<'a>>,
        known_not_affected: List<Text<'a>>,
        last_affected: List<Text<'a>>,
        recommended: List<Text<'a>>,
        under_investigation: List<Text<'a>>,
    }
}

members! {
    /// Section 3.2.3.12.
    Remediation {
        category: Text<'a>,
        details: Text<'a>,
        product_ids: List<Text<'a>>,
    }
}

members! {
    /// Section 3.2.3.13.
    Score {
        cvss_v2: Object<Cvss<'a>>,
        cvss_v3: Object<Cvss<'a>>,
        cvss_v4: Object<Cvss<'a>>,
    }
}

members! {
    /// CSAF 2.1, section 3.2.4.11.
    Metric {
        content: Object<Score<'a>>,
    }
}

members! {
    /// What every version of CVSS has.
    Cvss {
        #[serde(rename = "vectorString")]
        vector: Text<'a>,
    }
}

members! {
    /// Section 3.2.3.14.
    Threat {
        category: Text<'a>,
        details: Text<'a>,
        product_ids: List<Text<'a>>,
    }
}
