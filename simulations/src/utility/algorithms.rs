//! Federated algorithms beside each other, without privacy: what each of them changes in a job.
//!
//! Settings are usual ones from the papers and were tuned on no record; knows no data.

use tributary_job::server_rule::{Rule, ServerRule};
use tributary_job::spec::{LocalSpec, OptimiserKind, TrainingSpec};

/// A federated algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// One clipped gradient a round: the algorithm of the private modes.
    FedSgd,
    /// Local passes, mean change (McMahan et al. 2017).
    FedAvg,
    /// FedAvg with a proximal term (Li et al. 2020).
    FedProx,
    /// FedAvg with control variates (Karimireddy et al. 2020).
    Scaffold,
    /// FedAvg with momentum at the server (Hsu, Qi, Brown 2019).
    FedAvgM,
    /// An adaptive step at the server (Reddi et al. 2021).
    FedAdagrad,
    /// The same.
    FedAdam,
    /// The same.
    FedYogi,
}

impl Algorithm {
    /// Those that train between rounds.
    pub const LOCAL: [Self; 7] = [
        Self::FedAvg,
        Self::FedProx,
        Self::Scaffold,
        Self::FedAvgM,
        Self::FedAdagrad,
        Self::FedAdam,
        Self::FedYogi,
    ];

    /// As it is called in the field, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::FedSgd => "fedsgd",
            Self::FedAvg => "fedavg",
            Self::FedProx => "fedprox",
            Self::Scaffold => "scaffold",
            Self::FedAvgM => "fedavgm",
            Self::FedAdagrad => "fedadagrad",
            Self::FedAdam => "fedadam",
            Self::FedYogi => "fedyogi",
        }
    }

    /// Changes a job's training to this algorithm.
    pub fn apply(self, training: &mut TrainingSpec) {
        if self == Self::FedSgd {
            return;
        }
        let proximal = if self == Self::FedProx { 0.01 } else { 0.0 };
        training.local = Some(LocalSpec {
            epochs: 5,
            batch_size: 32,
            learning_rate: 0.3,
            momentum: 0.0,
            proximal,
            optimiser: OptimiserKind::Sgd,
            decay: 1.0,
            scaffold: self == Self::Scaffold,
        });
        let adaptive =
            |rule, rate| (Some(ServerRule { rule, beta1: 0.9, beta2: 0.99, tau: 0.01 }), rate);
        let (server, rate) = match self {
            Self::FedAdagrad => adaptive(Rule::Adagrad, 0.3),
            Self::FedAdam => adaptive(Rule::Adam, 0.1),
            Self::FedYogi => adaptive(Rule::Yogi, 0.1),
            _ => (None, 1.0),
        };
        training.server = server;
        training.momentum = if self == Self::FedAvgM { 0.5 } else { 0.0 };
        (training.learning_rate, training.final_learning_rate) = (rate, Some(rate / 4.0));
    }
}
