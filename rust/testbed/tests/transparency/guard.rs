use crate::Setting;
use libtest_mimic::Trial;
use std::sync::Arc;
pub(crate) fn trials(_: &Arc<Setting>) -> Vec<Trial> {
    vec![]
}
