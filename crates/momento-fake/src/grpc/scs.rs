//! The data plane's service, RPC by RPC: those that are answered are methods of [`Service`], the others say so.

use momento_protos::cache_client::{self as proto, scs_server::Scs};
use tokio_stream::Empty;
use tonic::{Request, Status, async_trait};

use super::{Reply, Service};

macro_rules! scs {
    (
        answered { $($answered:ident: $request:ident => $response:ident,)* }
        unanswered { $($unanswered:ident: $no_request:ident => $no_response:ident,)* }
    ) => {
        #[async_trait]
        impl Scs for Service {
            type GetBatchStream = Empty<Result<proto::GetResponse, Status>>;
            type SetBatchStream = Empty<Result<proto::SetResponse, Status>>;

            async fn get_batch(&self, _: Request<proto::GetBatchRequest>) -> Reply<Self::GetBatchStream> {
                Err(unanswered("get_batch"))
            }

            async fn set_batch(&self, _: Request<proto::SetBatchRequest>) -> Reply<Self::SetBatchStream> {
                Err(unanswered("set_batch"))
            }

            $(async fn $answered(&self, request: Request<proto::$request>) -> Reply<proto::$response> {
                // The inherent method of the same name, which goes before the trait's.
                Service::$answered(self, request).await
            })*

            $(async fn $unanswered(&self, _: Request<proto::$no_request>) -> Reply<proto::$no_response> {
                Err(unanswered(stringify!($unanswered)))
            })*
        }
    };
}

fn unanswered(rpc: &str) -> Status {
    Status::unimplemented(format!("momento-fake does not answer {rpc}: it keeps plain items only"))
}

scs! {
    answered {
        get: GetRequest => GetResponse,
        set: SetRequest => SetResponse,
        set_if: SetIfRequest => SetIfResponse,
        set_if_not_exists: SetIfNotExistsRequest => SetIfNotExistsResponse,
        delete: DeleteRequest => DeleteResponse,
        keys_exist: KeysExistRequest => KeysExistResponse,
        update_ttl: UpdateTtlRequest => UpdateTtlResponse,
        item_get_ttl: ItemGetTtlRequest => ItemGetTtlResponse,
    }
    unanswered {
        get_with_hash: GetWithHashRequest => GetWithHashResponse,
        set_if_hash: SetIfHashRequest => SetIfHashResponse,
        increment: IncrementRequest => IncrementResponse,
        item_get_type: ItemGetTypeRequest => ItemGetTypeResponse,
        dictionary_get: DictionaryGetRequest => DictionaryGetResponse,
        dictionary_fetch: DictionaryFetchRequest => DictionaryFetchResponse,
        dictionary_set: DictionarySetRequest => DictionarySetResponse,
        dictionary_increment: DictionaryIncrementRequest => DictionaryIncrementResponse,
        dictionary_delete: DictionaryDeleteRequest => DictionaryDeleteResponse,
        dictionary_length: DictionaryLengthRequest => DictionaryLengthResponse,
        set_fetch: SetFetchRequest => SetFetchResponse,
        set_sample: SetSampleRequest => SetSampleResponse,
        set_union: SetUnionRequest => SetUnionResponse,
        set_difference: SetDifferenceRequest => SetDifferenceResponse,
        set_contains: SetContainsRequest => SetContainsResponse,
        set_length: SetLengthRequest => SetLengthResponse,
        set_pop: SetPopRequest => SetPopResponse,
        list_push_front: ListPushFrontRequest => ListPushFrontResponse,
        list_push_back: ListPushBackRequest => ListPushBackResponse,
        list_pop_front: ListPopFrontRequest => ListPopFrontResponse,
        list_pop_back: ListPopBackRequest => ListPopBackResponse,
        list_erase: ListEraseRequest => ListEraseResponse,
        list_remove: ListRemoveRequest => ListRemoveResponse,
        list_fetch: ListFetchRequest => ListFetchResponse,
        list_length: ListLengthRequest => ListLengthResponse,
        list_concatenate_front: ListConcatenateFrontRequest => ListConcatenateFrontResponse,
        list_concatenate_back: ListConcatenateBackRequest => ListConcatenateBackResponse,
        list_retain: ListRetainRequest => ListRetainResponse,
        sorted_set_put: SortedSetPutRequest => SortedSetPutResponse,
        sorted_set_fetch: SortedSetFetchRequest => SortedSetFetchResponse,
        sorted_set_get_score: SortedSetGetScoreRequest => SortedSetGetScoreResponse,
        sorted_set_remove: SortedSetRemoveRequest => SortedSetRemoveResponse,
        sorted_set_increment: SortedSetIncrementRequest => SortedSetIncrementResponse,
        sorted_set_get_rank: SortedSetGetRankRequest => SortedSetGetRankResponse,
        sorted_set_length: SortedSetLengthRequest => SortedSetLengthResponse,
        sorted_set_length_by_score: SortedSetLengthByScoreRequest => SortedSetLengthByScoreResponse,
        sorted_set_union_store: SortedSetUnionStoreRequest => SortedSetUnionStoreResponse,
    }
}
