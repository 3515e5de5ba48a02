//! Takes publishers in from the RTMP server and hands them to the hub.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rtmp::{EndReason, Message, Publisher, Reason, Request, Server};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hub::{Claim, Hub};
use super::source::{SourceEnd, SourcePath, StampedTag};

/// Called when somebody publishes where no livestream is attached. `Err` is the reason to refuse with.
pub type Unwanted = Arc<dyn Fn(&SourcePath) -> Result<(), String> + Send + Sync>;

/// Serves publishers until `shutdown`. `unwanted` may start a livestream for them.
pub async fn serve(server: Server, hub: Hub, unwanted: Unwanted, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let request = tokio::select! {
            request = server.accept() => request,
            () = shutdown.cancelled() => break,
        };
        let (hub, unwanted, shutdown) = (hub.clone(), Arc::clone(&unwanted), shutdown.clone());
        connections.spawn(async move {
            tokio::select! {
                () = admit(request, hub, unwanted) => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
    connections.close();
    connections.wait().await;
}

async fn admit(request: Request, hub: Hub, unwanted: Unwanted) {
    let peer = request.peer();
    let path = SourcePath::new(app(request.app(), request.instance()), request.key().expose());
    // The path is claimed before the publisher hears that it may go on, and freed by the claim's drop whatever happens.
    let claim = if hub.is_wanted(&path) {
        hub.claim(path.clone(), peer).map_err(|error| error.to_string())
    } else {
        unwanted(&path).and_then(|()| hub.claim(path.clone(), peer).map_err(|error| error.to_string()))
    };
    match claim {
        Ok(claim) => match request.accept().await {
            Ok(publisher) => {
                tracing::info!(%peer, %path, "publishing");
                pump(publisher, claim).await;
            }
            Err(error) => tracing::info!(%peer, %path, %error, "the publisher left before it began"),
        },
        Err(reason) => {
            tracing::warn!(%peer, %path, %reason, "publisher refused");
            request.reject(Reason::new(reason)).await;
        }
    }
}

/// The application with its instance: `live`, or `live/studio`.
fn app(app: &str, instance: &str) -> String {
    if instance.is_empty() { app.to_owned() } else { format!("{app}/{instance}") }
}

async fn pump(mut publisher: Publisher, claim: Claim) {
    loop {
        tokio::select! {
            message = publisher.recv() => match message {
                Some(Message::Tag(tag)) => claim.tag(StampedTag::new(tag, Instant::now(), SystemTime::now())),
                Some(Message::End(reason)) => return claim.end(source_end(reason)),
                None => return claim.end(SourceEnd::Lost("the connection was closed".into())),
            },
            () = claim.stopped() => return claim.end(SourceEnd::Clean),
        }
    }
}

fn source_end(reason: EndReason) -> SourceEnd {
    match reason {
        EndReason::Clean => SourceEnd::Clean,
        EndReason::Lost(why) => SourceEnd::Lost(why),
        EndReason::Idle => SourceEnd::Lost("the encoder sent nothing for ten seconds".into()),
        EndReason::Protocol(why) => SourceEnd::Lost(format!("the encoder broke the protocol: {why}")),
    }
}
