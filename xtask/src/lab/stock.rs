//! What a lab holds that belongs to no single host: images, package repositories, the key, the bridge; and
//! what its vendor publishes.

use std::fs;

use super::command::{output, program};
use super::error::LabError;
use super::family::Family;
use super::image::{self, Image};
use super::pair::{self, Pairing};
use super::turn::lock_file;
use super::{Lab, net, permit};

impl Lab {
    /// "The vendor releases the patch": from now on the hosts' apt sees the new version.
    pub fn publish(&self, family: Family) -> Result<(), LabError> {
        let _lock = self.lock()?;
        self.fill_repository(family, &["old", "new"])
    }

    /// "The vendor releases a patch that does not work": the hosts' apt sees the old version, the patch,
    /// and one above it whose daemon does not start. Gives that version.
    pub fn publish_broken(&self, family: Family) -> Result<String, LabError> {
        let _lock = self.lock()?;
        self.fill_repository(family, &["old", "new"])?;
        self.add_broken(family)
    }

    /// Takes the patch back.
    pub fn unpublish(&self, family: Family) -> Result<(), LabError> {
        let _lock = self.lock()?;
        self.fill_repository(family, &["old"])
    }

    /// Everything that does not belong to one host: images, repositories, key, bridge.
    pub(super) fn prepare(&self, families: &[Family], pairing: Pairing) -> Result<(), LabError> {
        permit::programs()?;
        permit::kernel(&self.root, &format!("{}-probe", self.tag))?;
        let chosen = self.root.join("pairing");
        let name = pair::key(Family::Postfix, pairing);
        match fs::read_to_string(&chosen) {
            Ok(had) if had != name && !self.hosts()?.is_empty() => {
                return Err(LabError::BadArgument(
                    "this lab was brought up with the other kind of patches (--synthetic); take it \
                     down first"
                        .to_owned(),
                ));
            }
            _ => fs::write(&chosen, name).map_err(|error| LabError::io("write", &chosen, error))?,
        }
        for directory in ["images", "packages", "apt"] {
            let path = self.cache.join(directory);
            fs::create_dir_all(&path).map_err(|error| LabError::io("create", &path, error))?;
        }
        self.build_images(families, pairing)?;
        let key = self.root.join("key");
        if !key.exists() {
            let new_key = ["-q", "-t", "ed25519", "-N", "", "-C", "mailkeep-lab", "-f"];
            output(
                "making the lab's key",
                program("ssh-keygen", new_key).arg(&key),
            )?;
        }
        for family in families {
            if !self
                .root
                .join("repository/live")
                .join(family.name())
                .exists()
            {
                self.fill_repository(*family, &["old"])?;
            }
        }
        net::ensure_bridge(&self.bridge())
    }

    /// Builds what is missing, all families at once: mirrors and disks are waited for, not the CPU.
    pub(super) fn build_images(
        &self,
        families: &[Family],
        pairing: Pairing,
    ) -> Result<(), LabError> {
        let lock = lock_file(&self.cache.join("lock"))?;
        let mut families = families.to_vec();
        families.sort();
        families.dedup();
        let (cache, extras) = (&self.cache, self.extras);
        let result = std::thread::scope(|scope| {
            let builds: Vec<_> = families
                .iter()
                .map(|family| scope.spawn(move || image::ensure(cache, *family, pairing, extras)))
                .collect();
            let results: Vec<_> = builds
                .into_iter()
                .map(std::thread::ScopedJoinHandle::join)
                .collect();
            results.into_iter().try_for_each(|result| match result {
                Ok(result) => result.map(drop),
                Err(panic) => std::panic::resume_unwind(panic),
            })
        });
        drop(lock);
        result
    }

    pub(super) fn image(&self, family: Family, pairing: Pairing) -> Image {
        image::of(&self.cache, family, pairing, self.extras)
    }

    /// Which kind of patches this lab was brought up with.
    pub(super) fn pairing(&self) -> Result<Pairing, LabError> {
        let path = self.root.join("pairing");
        let name = fs::read_to_string(&path).map_err(|error| LabError::io("read", &path, error))?;
        let synthetic = name == pair::key(Family::Postfix, Pairing::Synthetic);
        Ok(if synthetic {
            Pairing::Synthetic
        } else {
            Pairing::Archive
        })
    }

    /// What the hosts see below `/repo`: `live` is what their apt reads, `held` the patch before its
    /// release.
    pub(super) fn fill_repository(
        &self,
        family: Family,
        versions: &[&str],
    ) -> Result<(), LabError> {
        let packages = self.image(family, self.pairing()?).packages;
        let live = self.root.join("repository/live").join(family.name());
        let held = self.root.join("repository/held").join(family.name());
        for (directory, versions) in [(&held, ["new"].as_slice()), (&live, versions)] {
            fs::create_dir_all(directory)
                .map_err(|error| LabError::io("create", directory, error))?;
            for old in pair::packages_in(directory)? {
                fs::remove_file(&old).map_err(|error| LabError::io("remove", &old, error))?;
            }
            for version in versions {
                for package in pair::packages_in(&packages.join(version))? {
                    if let Some(name) = package.file_name() {
                        fs::copy(&package, directory.join(name))
                            .map_err(|error| LabError::io("copy", &package, error))?;
                    }
                }
            }
        }
        pair::write_index(&live)
    }

    /// Adds packages to the repository whose daemon does not start; gives their version.
    pub(super) fn add_broken(&self, family: Family) -> Result<String, LabError> {
        let packages = self.image(family, self.pairing()?).packages;
        let live = self.root.join("repository/live").join(family.name());
        let version = pair::make_broken(&packages.join("new"), &live, family)?;
        pair::write_index(&live)?;
        Ok(version)
    }
}
