//! Recipes pinned by what they are now: a plan says which file, and by its digest which content.

use std::path::Path;

use anyhow::Context as _;
use mailkeep_model::RecipeRef;

use crate::app::LoadedFleet;

/// The recipe that the fleet file names for a family.
pub fn of_family(fleet: &LoadedFleet, family: &str) -> anyhow::Result<Option<RecipeRef>> {
    let settings = fleet.file.fleet.families.get(family);
    let Some(path) = settings.and_then(|settings| settings.recipe.as_ref()) else {
        return Ok(None);
    };
    let sha256 = digest(&fleet.resolve(path))
        .with_context(|| format!("the recipe of family {family} cannot be pinned"))?;
    Ok(Some(RecipeRef {
        path: path.clone(),
        sha256,
    }))
}

fn digest(path: &Path) -> anyhow::Result<String> {
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    for byte in Sha256::digest(&bytes) {
        let _never_fails = write!(text, "{byte:02x}");
    }
    Ok(text)
}
