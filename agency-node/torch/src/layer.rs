//! What a layer with parameters must offer for clipping by ghost norms.
//!
//! One file per kind of layer; knows nothing of the network around it.

use tch::{TchError, Tensor};

/// A layer with parameters. B is the number of rows of a microbatch; `input` is what the layer saw,
/// `gradient` the gradient of the summed loss by its output. Both arrive in the kind the network
/// ran in; norms and sums are made in f64.
pub(crate) trait Layer {
    /// The output for an input.
    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError>;

    /// Squared L2 norm of each record's gradient by this layer's parameters, f64, `[B]`; not finite
    /// if any value of the record's input or gradient is not finite.
    ///
    /// Every term must be non-negative, so that no cancellation can underestimate a norm.
    fn squared_norms(&self, input: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError>;

    /// Sums over the records of `weight_i * gradient_i`, f64, one tensor per parameter tensor, in
    /// the order of the flat vector. `weights` is f64, `[B]`.
    fn weighted_sums(
        &self,
        input: &Tensor,
        gradient: &Tensor,
        weights: &Tensor,
    ) -> Result<Vec<Tensor>, TchError>;
}
