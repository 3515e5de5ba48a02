//! Momento Cache through its SDK.

use std::sync::Arc;

use crate::open::{Env, OpenOptions};
use crate::{Error, MediaStore, StoreUrl};

pub(crate) async fn open(url: &StoreUrl, _env: Env<'_>, _options: &OpenOptions) -> Result<Arc<dyn MediaStore>, Error> {
    Err(url.invalid("Momento is not built in".into()))
}
