//! `[[families]]`: variants of one model, with what each costs and how good its answers are.

use wattle_core::family::{Variant, energy_per_row};
use wattle_core::id::FamilyName;
use wattle_core::nearest::nearest;
use wattle_core::units::Joules;

use super::files::Files;
use super::load::{Loaded, ScenarioError, wrong};
use super::{FamilyFile, VariantFile};
use crate::plan::FamilyPlan;

impl Loaded {
    pub(super) fn add_family(&mut self, family: &FamilyFile, files: &Files<'_>) -> Result<(), ScenarioError> {
        let place = format!("families.{}", family.name);
        let name = FamilyName::from(family.name.as_str());
        if self.families.contains_key(&name) {
            return Err(wrong(files.name(), &place, "the name twice", "each name once"));
        }
        if self.plan.models.iter().any(|model| model.name.as_str() == family.name) {
            let expected = "another name: requests name either";
            return Err(wrong(files.name(), &place, "the name of a model", expected));
        }
        let mut members: Vec<(Variant, usize)> = Vec::new();
        for variant in &family.variants {
            let member = self.variant(variant, &place, files)?;
            if members.iter().any(|(_, index)| *index == member.1) {
                let place = format!("{place}.variants");
                let found = format!("{:?} twice", variant.model);
                return Err(wrong(files.name(), &place, &found, "each model once"));
            }
            members.push(member);
        }
        members.sort_by(|(a, _), (b, _)| a.model.cmp(&b.model));
        let first = family.active.as_ref().or(family.variants.first().map(|variant| &variant.model));
        let active = members.iter().position(|(of, _)| Some(of.model.as_str()) == first.map(String::as_str));
        let Some(active) = active else {
            let found = first.map_or("no active variant".to_owned(), |first| format!("{first:?}"));
            let known: Vec<&str> = members.iter().map(|(of, _)| of.model.as_str()).collect();
            let expected = format!("one of its variants: {}", known.join(", "));
            return Err(wrong(files.name(), &format!("{place}.active"), &found, &expected));
        };
        let (variants, models): (Vec<Variant>, Vec<usize>) = members.into_iter().unzip();
        self.families.insert(name.clone(), variants.clone());
        self.plan.families.push(FamilyPlan { name, variants, models, active });
        Ok(())
    }

    /// A variant, and the index of its model, which takes over its quality.
    fn variant(
        &mut self,
        variant: &VariantFile,
        place: &str,
        files: &Files<'_>,
    ) -> Result<(Variant, usize), ScenarioError> {
        let names = || self.plan.models.iter().map(|model| model.name.as_str());
        let Some(index) = names().position(|name| name == variant.model) else {
            let near = nearest(&variant.model, names()).unwrap_or_default();
            let expected = format!("a model of the scenario, such as {near:?}");
            return Err(wrong(files.name(), place, &format!("{:?}", variant.model), &expected));
        };
        let place = format!("{place}.variants.{}", variant.model);
        self.check_quality(variant, &place, files)?;
        let model = &mut self.plan.models[index];
        model.quality = variant.quality.or(model.quality);
        let energy = variant.energy_joules_per_row.map(Joules::new);
        let energy = energy.or_else(|| energy_per_row(&self.profiles[&model.name]));
        let (Some(energy), Some(quality)) = (energy, model.quality) else {
            let missing = if energy.is_none() { "energy_joules_per_row" } else { "quality" };
            let expected = match missing {
                "quality" => "one here, in its model or in its profile",
                _ => "one here, or a row of one instance with power and throughput in the model's profile",
            };
            return Err(wrong(files.name(), &format!("{place}.{missing}"), "nothing", expected));
        };
        if !(energy.get().is_finite() && energy.get() > 0.0) {
            let place = format!("{place}.energy_joules_per_row");
            return Err(wrong(files.name(), &place, &energy.get().to_string(), "a number over 0"));
        }
        Ok((Variant { model: model.name.clone(), energy_joules_per_row: energy, quality }, index))
    }

    /// The quality of a model is one figure, however often the scenario tells it.
    fn check_quality(
        &self,
        variant: &VariantFile,
        place: &str,
        files: &Files<'_>,
    ) -> Result<(), ScenarioError> {
        let Some(quality) = variant.quality else { return Ok(()) };
        let place = format!("{place}.quality");
        if !(0.0..=1.0).contains(&quality) {
            return Err(wrong(files.name(), &place, &quality.to_string(), "a share in 0 to 1"));
        }
        let of_model = self.file.models.iter().filter(|model| model.name == variant.model);
        let of_variants = self.file.families.iter().flat_map(|family| &family.variants);
        let of_variants = of_variants.filter(|other| other.model == variant.model);
        let mut told =
            of_model.filter_map(|model| model.quality).chain(of_variants.filter_map(|of| of.quality));
        match told.find(|other| *other != quality) {
            Some(other) => {
                let expected = format!("{other}, as the scenario tells it of {} elsewhere", variant.model);
                Err(wrong(files.name(), &place, &quality.to_string(), &expected))
            }
            None => Ok(()),
        }
    }
}
