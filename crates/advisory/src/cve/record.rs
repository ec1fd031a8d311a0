//! The parts of a CVE JSON 5 record that are read, and nothing of the rest
//! (github.com/CVEProject/cve-schema, `CVE_Record_Format.json`).

use serde::Deserialize;

use crate::lenient::{List, Object, Text};

macro_rules! members {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $member:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[allow(clippy::struct_field_names, reason = "the standard's own names")]
        #[serde(default, rename_all = "camelCase")]
        pub(super) struct $name<'a> {
            $($(#[$attr])* #[serde(borrow)] pub(super) $member: $kind,)*
        }
    };
}

members! {
    /// The whole.
    Record {
        data_type: Text<'a>,
        data_version: Text<'a>,
        cve_metadata: Object<Metadata<'a>>,
        containers: Object<Containers<'a>>,
    }
}

members! {
    /// `cveMetadata`.
    Metadata {
        cve_id: Text<'a>,
        date_updated: Text<'a>,
        state: Text<'a>,
    }
}

members! {
    /// `containers`.
    Containers {
        cna: Object<Container<'a>>,
        adp: List<Object<Container<'a>>>,
    }
}

members! {
    /// What one authority says.
    Container {
        affected: List<Object<Affected<'a>>>,
        descriptions: List<Object<Description<'a>>>,
        metrics: List<Object<Metric<'a>>>,
        problem_types: List<Object<ProblemType<'a>>>,
        provider_metadata: Object<Provider<'a>>,
        title: Text<'a>,
    }
}

members! {
    /// `providerMetadata`.
    Provider {
        short_name: Text<'a>,
    }
}

members! {
    /// `descriptions[]`.
    Description {
        lang: Text<'a>,
        value: Text<'a>,
    }
}

members! {
    /// `problemTypes[]`.
    ProblemType {
        descriptions: List<Object<Weakness<'a>>>,
    }
}

members! {
    /// `problemTypes[].descriptions[]`.
    Weakness {
        cwe_id: Text<'a>,
    }
}

members! {
    /// `metrics[]`.
    Metric {
        #[serde(rename = "cvssV2_0")]
        cvss2: Object<Cvss<'a>>,
        #[serde(rename = "cvssV3_0")]
        cvss30: Object<Cvss<'a>>,
        #[serde(rename = "cvssV3_1")]
        cvss31: Object<Cvss<'a>>,
        #[serde(rename = "cvssV4_0")]
        cvss4: Object<Cvss<'a>>,
        other: Object<Other<'a>>,
    }
}

members! {
    /// What every version of CVSS has.
    Cvss {
        vector_string: Text<'a>,
    }
}

members! {
    /// `metrics[].other`.
    Other {
        #[serde(rename = "type")]
        kind: Text<'a>,
        content: Object<Content<'a>>,
    }
}

members! {
    /// CISA's content: of `ssvc` the options, of `kev` the date.
    Content {
        options: List<Object<SsvcOption<'a>>>,
        date_added: Text<'a>,
    }
}

members! {
    /// One decision point of SSVC.
    SsvcOption {
        #[serde(rename = "Exploitation")]
        exploitation: Text<'a>,
        #[serde(rename = "Automatable")]
        automatable: Text<'a>,
        #[serde(rename = "Technical Impact")]
        technical_impact: Text<'a>,
    }
}

members! {
    /// `affected[]`.
    Affected {
        #[serde(rename = "collectionURL")]
        collection_url: Text<'a>,
        cpes: List<Text<'a>>,
        default_status: Text<'a>,
        package_name: Text<'a>,
        #[serde(rename = "packageURL")]
        package_url: Text<'a>,
        product: Text<'a>,
        vendor: Text<'a>,
        versions: List<Object<Version<'a>>>,
    }
}

members! {
    /// `affected[].versions[]`.
    Version {
        changes: List<Object<Change<'a>>>,
        less_than: Text<'a>,
        less_than_or_equal: Text<'a>,
        status: Text<'a>,
        version: Text<'a>,
        version_type: Text<'a>,
    }
}

members! {
    /// `affected[].versions[].changes[]`.
    Change {
        at: Text<'a>,
        status: Text<'a>,
    }
}
