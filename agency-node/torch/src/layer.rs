//! What a layer with parameters must offer for clipping by ghost norms.
//!
//! One file per kind of layer; knows nothing of the network around it.

use std::ops::Range;

use tch::{Kind, TchError, Tensor};

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

    /// Squared L2 norm of the sum of the gradients of some consecutive records, all finite. It may
    /// be off by `1e-9 A^2`, where A is the sum of the records' norms
    /// ([`tributary_training::clipping::SUM_SLACK`]), and its bits must depend on those records
    /// alone, not on their place or their neighbours.
    ///
    /// As it stands here: the sum itself from copies of the rows, which a library cannot tell from
    /// any others of their number. It costs one gradient in memory.
    fn squared_sum(
        &self,
        input: &Tensor,
        gradient: &Tensor,
        unit: &Range<usize>,
    ) -> Result<f64, TchError> {
        let (start, length) = (unit.start as i64, unit.len() as i64);
        let rows = |values: &Tensor| -> Result<Tensor, TchError> {
            let part = values.f_narrow(0, start, length)?;
            let mut copy = part.f_zeros_like()?;
            copy.f_copy_(&part)?;
            Ok(copy)
        };
        let ones = Tensor::f_ones([length], (Kind::Double, gradient.device()))?;
        let mut total = 0.0;
        for sum in self.weighted_sums(&rows(input)?, &rows(gradient)?, &ones)? {
            total += sum.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])?;
        }
        Ok(total)
    }

    /// Sums over the records of `weight_i * gradient_i`, f64, one tensor per parameter tensor, in
    /// the order of the flat vector. `weights` is f64, `[B]`.
    fn weighted_sums(
        &self,
        input: &Tensor,
        gradient: &Tensor,
        weights: &Tensor,
    ) -> Result<Vec<Tensor>, TchError>;
}
