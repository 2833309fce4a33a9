//! Named parameters of a network, frozen or trainable, and their flat order.
//!
//! They never carry `requires_grad`: gradients come from the [`Tape`](super::Tape). Knows nothing
//! of layers; initial values are a public function of a seed and come from no random generator of
//! libtorch.

use tch::{Device, Kind, Tensor};

use super::PrivateError;

/// One parameter of a [`Parameters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(usize);

/// Initial values of one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Uniform in `[-bound, bound)`, a function of the seed and the parameter's position.
    Uniform(f64),
}

#[derive(Debug)]
struct Entry {
    name: String,
    value: Tensor,
    trainable: bool,
}

/// The parameters of one network. The flat vector of a network is its trainable parameters in the
/// order they were added, each in row-major order.
#[derive(Debug)]
pub struct Parameters {
    entries: Vec<Entry>,
    kind: Kind,
    seed: u64,
}

impl Parameters {
    /// No parameters yet. `kind` is what the network computes in ([`Kind::Float`]; [`Kind::Double`]
    /// for oracles), `seed` what [`Init::Uniform`] depends on.
    pub fn new(kind: Kind, seed: u64) -> Self {
        Self { entries: Vec::new(), kind, seed }
    }

    /// Adds a trainable parameter.
    ///
    /// # Errors
    /// A name that is there already, a size that is not positive, or a failure of libtorch.
    pub fn add(
        &mut self,
        name: &str,
        shape: &[i64],
        init: Init,
    ) -> Result<ParameterId, PrivateError> {
        if self.entries.iter().any(|entry| entry.name == name) {
            return Err(PrivateError::Network(format!("two parameters have the name {name}")));
        }
        if shape.iter().any(|&size| size <= 0) {
            return Err(PrivateError::Network(format!("{name} has the shape {shape:?}")));
        }
        let options = (self.kind, Device::Cpu);
        let value = match init {
            Init::Zeros => Tensor::f_zeros(shape, options)?,
            Init::Ones => Tensor::f_ones(shape, options)?,
            Init::Uniform(bound) => {
                let length = shape.iter().product::<i64>() as usize;
                let stream = mix(self.seed ^ mix(self.entries.len() as u64 + 1));
                let values: Vec<f32> =
                    (0..length as u64).map(|i| (bound * symmetric(stream, i)) as f32).collect();
                Tensor::f_from_slice(&values)?.f_to_kind(self.kind)?.f_view(shape)?
            }
        };
        self.entries.push(Entry { name: name.to_owned(), value, trainable: true });
        Ok(ParameterId(self.entries.len() - 1))
    }

    /// Excludes a parameter from training: it has no gradient and no place in the flat vector.
    pub fn freeze(&mut self, id: ParameterId) {
        if let Some(entry) = self.entries.get_mut(id.0) {
            entry.trainable = false;
        }
    }

    /// Freezes everything added so far: the base under adapters that are added next.
    pub fn freeze_all(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.trainable = false);
    }

    /// Replaces a parameter's values; the shape must stay.
    ///
    /// # Errors
    /// Another shape, or a failure of libtorch.
    pub fn set(&mut self, id: ParameterId, value: &Tensor) -> Result<(), PrivateError> {
        let kind = self.kind;
        let entry = self.entries.get_mut(id.0).ok_or_else(unknown)?;
        if entry.value.size() != value.size() {
            let (name, has) = (&entry.name, entry.value.size());
            let message = format!("{name} has the shape {has:?}, not {:?}", value.size());
            return Err(PrivateError::Network(message));
        }
        entry.value = value.f_detach()?.f_to_dtype(kind, false, true)?.f_contiguous()?;
        Ok(())
    }

    /// As [`Parameters::set`], without a copy: for values that nobody writes to.
    ///
    /// # Errors
    /// Another shape or kind, or a failure of libtorch.
    pub(crate) fn share(&mut self, id: ParameterId, value: &Tensor) -> Result<(), PrivateError> {
        let kind = self.kind;
        let entry = self.entries.get_mut(id.0).ok_or_else(unknown)?;
        if entry.value.size() != value.size() || value.kind() != kind {
            return Err(PrivateError::Network(format!("{} is of another shape", entry.name)));
        }
        entry.value = value.f_detach()?;
        Ok(())
    }

    /// A parameter's values.
    ///
    /// # Errors
    /// An id of another network.
    pub fn value(&self, id: ParameterId) -> Result<&Tensor, PrivateError> {
        self.entries.get(id.0).map(|entry| &entry.value).ok_or_else(unknown)
    }

    /// Whether a parameter is trained; false for an id of another network.
    pub fn is_trainable(&self, id: ParameterId) -> bool {
        self.entries.get(id.0).is_some_and(|entry| entry.trainable)
    }

    /// Trainable parameters in the order of the flat vector, with their names.
    pub fn trainable(&self) -> impl Iterator<Item = (ParameterId, &str, &Tensor)> {
        let entries = self.entries.iter().enumerate().filter(|(_, entry)| entry.trainable);
        entries.map(|(i, entry)| (ParameterId(i), entry.name.as_str(), &entry.value))
    }

    /// All parameters in the order they were added, with their names.
    pub fn all(&self) -> impl Iterator<Item = (ParameterId, &str, &Tensor)> {
        let entries = self.entries.iter().enumerate();
        entries.map(|(i, entry)| (ParameterId(i), entry.name.as_str(), &entry.value))
    }

    /// Length d of the flat vector.
    pub fn dimension(&self) -> usize {
        self.trainable().map(|(_, _, value)| value.numel()).sum()
    }

    /// The flat vector, length d.
    ///
    /// # Errors
    /// A failure of libtorch.
    pub fn flat(&self) -> Result<Vec<f32>, PrivateError> {
        let mut flat = vec![0.0; self.dimension()];
        let mut rest = flat.as_mut_slice();
        for (_, _, value) in self.trainable() {
            let (here, after) = rest.split_at_mut(value.numel());
            value.f_to_kind(Kind::Float)?.f_contiguous()?.f_copy_data(here, value.numel())?;
            rest = after;
        }
        Ok(flat)
    }

    /// Sets all trainable parameters from a flat vector.
    ///
    /// # Errors
    /// Another length than d, or a failure of libtorch.
    pub fn set_flat(&mut self, flat: &[f32]) -> Result<(), PrivateError> {
        if flat.len() != self.dimension() {
            let (found, expected) = (flat.len(), self.dimension());
            let message = format!("{found} parameters given, this network has {expected}");
            return Err(PrivateError::Network(message));
        }
        let (kind, mut rest) = (self.kind, flat);
        for entry in self.entries.iter_mut().filter(|entry| entry.trainable) {
            let (here, after) = rest.split_at(entry.value.numel());
            let shape = entry.value.size();
            entry.value = Tensor::f_from_slice(here)?.f_to_kind(kind)?.f_view(&shape[..])?;
            rest = after;
        }
        Ok(())
    }

    /// What the network computes in.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl ParameterId {
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

fn unknown() -> PrivateError {
    PrivateError::Network("a parameter of another network".into())
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Value number `i` of a stream, uniform in `[-1, 1)`.
fn symmetric(stream: u64, i: u64) -> f64 {
    let bits = mix(stream.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 11;
    bits as f64 / (1u64 << 52) as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flat_vector_holds_what_is_trainable_in_order() {
        let mut p = Parameters::new(Kind::Float, 3);
        let a = p.add("a", &[2, 3], Init::Uniform(0.5)).unwrap();
        let b = p.add("b", &[2], Init::Ones).unwrap();
        let c = p.add("c", &[4], Init::Zeros).unwrap();
        p.freeze(b);
        assert_eq!(p.dimension(), 10);
        assert!(p.is_trainable(a) && !p.is_trainable(b) && p.is_trainable(c));
        let values: Vec<f32> = (0..10u8).map(f32::from).collect();
        p.set_flat(&values).unwrap();
        assert_eq!(p.flat().unwrap(), values);
        assert_eq!(p.value(a).unwrap().double_value(&[1, 0]), 3.0);
        assert_eq!(p.value(b).unwrap().double_value(&[1]), 1.0);
        assert!(p.set_flat(&values[1..]).is_err());
        assert!(p.add("a", &[1], Init::Zeros).is_err());
        assert!(p.add("d", &[0], Init::Zeros).is_err());
        assert!(p.set(a, &Tensor::from_slice(&[1.0f32])).is_err());
    }

    #[test]
    fn initial_values_depend_on_seed_and_place_and_fill_their_range() {
        let of = |seed| {
            let mut p = Parameters::new(Kind::Float, seed);
            p.add("a", &[1000], Init::Uniform(0.5)).unwrap();
            p.add("b", &[1000], Init::Uniform(0.5)).unwrap();
            p.flat().unwrap()
        };
        let (one, two) = (of(1), of(2));
        assert_eq!(one, of(1));
        assert!(one != two && one[..1000] != one[1000..]);
        assert!(one.iter().all(|v| (-0.5..=0.5).contains(v)));
        let mean = one.iter().sum::<f32>() / 2000.0;
        let square = one.iter().map(|v| v * v).sum::<f32>() / 2000.0;
        assert!(mean.abs() < 0.03 && (square - 1.0 / 12.0).abs() < 0.01, "{mean} {square}");
    }
}
