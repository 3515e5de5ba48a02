//! Momento Object Store over its HTTP API.

use std::sync::Arc;

use crate::open::{Env, OpenOptions};
use crate::{Error, MediaStore, StoreUrl};

pub(crate) async fn open(url: &StoreUrl, _env: Env<'_>, _options: &OpenOptions) -> Result<Arc<dyn MediaStore>, Error> {
    Err(url.invalid("Momento Object Store is not built in".into()))
}
