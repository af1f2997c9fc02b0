//! The arithmetic of rolling updates.

use k8s_openapi::api::apps::v1::DeploymentSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How far a rollout may stray from the wanted number of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub replicas: i32,
    pub surge: i32,
    pub unavailable: i32,
}

impl Bounds {
    pub(super) fn of(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1);
        let rolling = spec
            .strategy
            .as_ref()
            .and_then(|s| s.rolling_update.clone())
            .unwrap_or_default();
        let recreate = spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("Recreate");
        if recreate {
            return Self {
                replicas,
                surge: 0,
                unavailable: replicas,
            };
        }
        let quarter = IntOrString::String("25%".to_owned());
        let surge = portion(
            rolling.max_surge.as_ref().unwrap_or(&quarter),
            replicas,
            Round::Up,
        );
        let mut unavailable = portion(
            rolling.max_unavailable.as_ref().unwrap_or(&quarter),
            replicas,
            Round::Down,
        );
        // or nothing could ever move
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self {
            replicas,
            surge,
            unavailable: unavailable.min(replicas),
        }
    }
}

/// Which way percentages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::controllers) enum Round {
    Up,
    Down,
}

/// An absolute number or a percentage of `total`.
pub(in crate::controllers) fn portion(value: &IntOrString, total: i32, round: Round) -> i32 {
    match value {
        IntOrString::Int(n) => *n,
        IntOrString::String(text) => {
            let percent: i32 = text.trim_end_matches('%').parse().unwrap_or(0);
            let hundredths = percent * total;
            match round {
                Round::Up => (hundredths + 99) / 100,
                Round::Down => hundredths / 100,
            }
        }
    }
}

/// A ReplicaSet as the arithmetic sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub wanted: i32,
    pub available: i32,
}

/// What the ReplicaSets should want next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scale {
    pub new: i32,
    pub old: Vec<i32>,
}

/// One step. The new set grows as far as the surge allows; old ones shrink as far as availability allows, pods
/// that are not available first.
pub(super) fn step(bounds: &Bounds, new: Size, old: &[Size]) -> Scale {
    let mut sizes: Vec<i32> = old.iter().map(|s| s.wanted).collect();
    let total = new.wanted + sizes.iter().sum::<i32>();
    let grown = if new.wanted > bounds.replicas {
        bounds.replicas
    } else {
        let room = bounds.replicas + bounds.surge - total;
        new.wanted + room.clamp(0, bounds.replicas - new.wanted)
    };
    if grown != new.wanted {
        // old sets shrink on the next turn, when it is known what the new one does
        return Scale {
            new: grown,
            old: sizes,
        };
    }
    let least_available = bounds.replicas - bounds.unavailable;
    let new_unavailable = (new.wanted - new.available).max(0);
    let mut spare = total - least_available - new_unavailable;
    for (size, set) in sizes.iter_mut().zip(old) {
        let unhealthy = (set.wanted - set.available).clamp(0, spare.max(0));
        *size -= unhealthy;
        spare -= unhealthy;
    }
    let available = new.available + old.iter().map(|s| s.available).sum::<i32>();
    let mut spare = (available - least_available).max(0);
    for size in &mut sizes {
        let less = (*size).clamp(0, spare);
        *size -= less;
        spare -= less;
    }
    Scale {
        new: grown,
        old: sizes,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({}), 4, (1, 1))]
    #[case(json!({}), 1, (1, 0))]
    #[case(json!({"maxSurge": 0, "maxUnavailable": "10%"}), 4, (0, 1))]
    #[case(json!({"maxSurge": "50%", "maxUnavailable": 0}), 3, (2, 0))]
    fn bounds(
        #[case] rolling: serde_json::Value,
        #[case] replicas: i32,
        #[case] expected: (i32, i32),
    ) {
        let spec = serde_json::from_value(json!({
            "replicas": replicas, "selector": {}, "template": {}, "strategy": {"rollingUpdate": rolling},
        }));
        let bounds = Bounds::of(&spec.unwrap());
        assert_eq!((bounds.surge, bounds.unavailable), expected);
    }

    #[rstest]
    // a first rollout
    #[case((3, 1, 0), (0, 0), &[], 3, &[])]
    // room for one more, then one old one goes
    #[case((3, 1, 0), (0, 0), &[(3, 3)], 1, &[3])]
    #[case((3, 1, 0), (1, 0), &[(3, 3)], 1, &[3])]
    #[case((3, 1, 0), (1, 1), &[(3, 3)], 1, &[2])]
    #[case((3, 1, 0), (3, 3), &[(1, 1)], 3, &[0])]
    // unavailability allows to begin with the old ones
    #[case((4, 0, 1), (0, 0), &[(4, 4)], 0, &[3])]
    #[case((4, 0, 1), (0, 0), &[(3, 3)], 1, &[3])]
    // broken old pods go first
    #[case((2, 1, 0), (1, 1), &[(2, 0)], 1, &[1])]
    // scaled down by the user
    #[case((1, 1, 0), (3, 3), &[], 1, &[])]
    fn steps(
        #[case] (replicas, surge, unavailable): (i32, i32, i32),
        #[case] new: (i32, i32),
        #[case] old: &[(i32, i32)],
        #[case] new_wanted: i32,
        #[case] old_wanted: &[i32],
    ) {
        let size = |(wanted, available)| Size { wanted, available };
        let bounds = Bounds {
            replicas,
            surge,
            unavailable,
        };
        let old: Vec<_> = old.iter().copied().map(size).collect();
        let scale = step(&bounds, size(new), &old);
        assert_eq!((scale.new, scale.old.as_slice()), (new_wanted, old_wanted));
    }

    /// Whatever the bounds, a rollout of healthy pods ends, and stays inside the bounds.
    #[rstest]
    #[case(3, 1, 0)]
    #[case(5, 2, 2)]
    #[case(1, 0, 1)]
    #[case(4, 0, 1)]
    fn rollouts_end(#[case] replicas: i32, #[case] surge: i32, #[case] unavailable: i32) {
        let bounds = Bounds {
            replicas,
            surge,
            unavailable,
        };
        let full = |n| Size {
            wanted: n,
            available: n,
        };
        let (mut new, mut old) = (0, vec![replicas]);
        for _ in 0..50 {
            let sizes: Vec<_> = old.iter().map(|n| full(*n)).collect();
            let scale = step(&bounds, full(new), &sizes);
            (new, old) = (scale.new, scale.old);
            let total = new + old.iter().sum::<i32>();
            assert!(
                total <= replicas + surge && total >= replicas - unavailable,
                "{total}"
            );
        }
        assert_eq!((new, old.iter().sum::<i32>()), (replicas, 0));
    }
}
