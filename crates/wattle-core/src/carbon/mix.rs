//! Carbon intensity from what is generated: the mean of the sources' factors, weighted by generation.

use crate::nearest::nearest;
use crate::signal::EmissionScope;
use crate::units::CarbonIntensity;

/// Emission factors of sources of electricity, all from one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FactorTable {
    /// Whose they are.
    pub name: &'static str,
    /// Which emissions they count.
    pub scope: EmissionScope,
    /// Sources by name, with their gCO2e/kWh.
    pub factors: &'static [(&'static str, f64)],
}

/// What burning the fuel emits, as DACF counts it for grids of the United States (factors of their agency
/// EPA). Its gas is `nat_gas`.
pub const DIRECT_DACF: FactorTable = FactorTable {
    name: "DACF, direct",
    scope: EmissionScope::Direct,
    factors: &[
        ("coal", 760.0),
        ("nat_gas", 370.0),
        ("gas", 370.0),
        ("oil", 406.0),
        ("other", 575.0),
        ("unknown", 575.0),
        ("nuclear", 0.0),
        ("hydro", 0.0),
        ("solar", 0.0),
        ("wind", 0.0),
        ("biomass", 0.0),
        ("geothermal", 0.0),
    ],
};

/// What a plant emits over its life, fuel and building, as the carbon model ACT has it (Gupta et al., "ACT:
/// designing sustainable computer systems with an architectural carbon modeling tool", ISCA 2022). It has
/// no factor for oil.
pub const LIFE_CYCLE_ACT: FactorTable = FactorTable {
    name: "ACT, life-cycle",
    scope: EmissionScope::LifeCycle,
    factors: &[
        ("coal", 820.0),
        ("nat_gas", 490.0),
        ("gas", 490.0),
        ("biomass", 230.0),
        ("solar", 41.0),
        ("geothermal", 38.0),
        ("hydro", 24.0),
        ("nuclear", 12.0),
        ("wind", 11.0),
    ],
};

/// A mix that has no carbon intensity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("generation mix, {source_name}: found {found}, expected {expected}")]
pub struct MixError {
    /// The source, or `sum`.
    pub source_name: String,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl FactorTable {
    /// The factor of `source` in gCO2e/kWh. `None`: the table has none.
    pub fn factor(&self, source: &str) -> Option<f64> {
        self.factors.iter().find(|(name, _)| *name == source).map(|(_, factor)| *factor)
    }

    /// The intensity of a mix: each source with what it generates, all in the same unit of power or energy.
    ///
    /// Fails on a source that the table has no factor for and that generates something, on generation that
    /// is negative or no number, and where nothing is generated at all. None of it is guessed.
    pub fn intensity<'s>(
        &self,
        mix: impl IntoIterator<Item = (&'s str, f64)>,
    ) -> Result<CarbonIntensity, MixError> {
        let (mut grams, mut total) = (0.0, 0.0);
        for (source, generated) in mix {
            if !(generated.is_finite() && generated >= 0.0) {
                return Err(MixError {
                    source_name: source.into(),
                    found: generated.to_string(),
                    expected: "generation of at least 0".into(),
                });
            }
            let factor = match self.factor(source) {
                Some(factor) => factor,
                None if generated == 0.0 => 0.0,
                None => {
                    let known = self.factors.iter().map(|(name, _)| *name);
                    let meant = nearest(source, known.clone()).unwrap_or_default();
                    let known = known.collect::<Vec<_>>().join(", ");
                    return Err(MixError {
                        source_name: source.into(),
                        found: format!("no factor in the table \"{}\"", self.name),
                        expected: format!("one of: {known}; did you mean {meant}?"),
                    });
                }
            };
            grams += generated * factor;
            total += generated;
        }
        if total > 0.0 && f64::is_finite(grams / total) {
            return Ok(CarbonIntensity::new(grams / total));
        }
        Err(MixError {
            source_name: "sum".into(),
            found: format!("{total} generated"),
            expected: "more than 0".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dacfs_first_hour_of_2020_gives_its_printed_intensity() {
        let mix = [
            ("coal", 12.0),
            ("nat_gas", 7290.0),
            ("nuclear", 2273.0),
            ("oil", 91.0),
            ("hydro", 0.0),
            ("solar", 1403.0),
            ("wind", 225.0),
            ("other", 0.0),
        ];
        assert_eq!(format!("{:.1}", DIRECT_DACF.intensity(mix).unwrap().get()), "242.9");
    }

    #[test]
    fn a_source_without_a_factor_is_an_error_unless_it_makes_nothing() {
        let error = LIFE_CYCLE_ACT.intensity([("gas", 1.0), ("oil", 1.0)]).unwrap_err();
        assert!(error.to_string().contains("oil") && error.to_string().contains("coal"), "{error}");
        assert_eq!(LIFE_CYCLE_ACT.intensity([("gas", 1.0), ("oil", 0.0)]).unwrap().get(), 490.0);
        assert!(DIRECT_DACF.intensity([("sun", 1.0)]).unwrap_err().to_string().contains("did you mean"));
        assert!(DIRECT_DACF.intensity([("coal", 0.0)]).is_err() && DIRECT_DACF.intensity([]).is_err());
        assert!(DIRECT_DACF.intensity([("coal", -1.0)]).is_err());
    }

    proptest! {
        #[test]
        fn an_intensity_lies_between_the_factors_of_its_sources(
            mix in prop::collection::vec((0_usize..9, 0.1_f64..1e5), 1..9)
        ) {
            let factors = LIFE_CYCLE_ACT.factors;
            let made = LIFE_CYCLE_ACT.intensity(mix.iter().map(|(at, made)| (factors[*at].0, *made)));
            let of = |at: &(usize, f64)| factors[at.0].1;
            let least = mix.iter().map(of).fold(f64::INFINITY, f64::min);
            let most = mix.iter().map(of).fold(0.0, f64::max);
            let made = made.unwrap().get();
            prop_assert!(made >= least - 1e-9 && made <= most + 1e-9);
        }
    }
}
