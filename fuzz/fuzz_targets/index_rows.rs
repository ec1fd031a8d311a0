//! Rows of the advisory index as a broken disk gives them: any bytes.
#![no_main]

use mailkeep_matcher::PackageRows;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut rows = PackageRows::new();
    rows.push(0, 0, data);
    drop(rows.of(0));
});
