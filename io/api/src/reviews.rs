//! Questions about users for the node's own port: TokenReview and SubjectAccessReview.

use std::collections::BTreeMap;

use async_trait::async_trait;
use core_types::Secret;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ports::reviews::{AccessQuestion, AccessVerdict, Retry, ReviewError, TokenVerdict, User};
use ports::{ApiError, SubjectAccessReviews, TokenReviews};

use crate::{ApiClient, ObjectPath};

/// Questions about users.
#[derive(Clone, Debug)]
pub struct ApiReviews {
    client: ApiClient,
}

impl ApiReviews {
    /// Asks through this client.
    pub fn new(client: ApiClient) -> Self {
        Self { client }
    }
}

#[async_trait]
impl TokenReviews for ApiReviews {
    async fn review_token(&self, token: &Secret<String>) -> Result<TokenVerdict, ReviewError> {
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec { audiences: None, token: token.expose().clone() },
            status: None,
        };
        let answer: Result<TokenReview, _> =
            self.client.create(&ObjectPath::all::<TokenReview>(), &review).await;
        let status = answer.map_err(review_error)?.status.unwrap_or_default();
        Ok(match (status.authenticated, status.error.filter(|error| !error.is_empty())) {
            (Some(true), _) => TokenVerdict::Known(user(status.user.unwrap_or_default())),
            (_, Some(reason)) => TokenVerdict::Refused(reason),
            (_, None) => TokenVerdict::Unknown,
        })
    }
}

#[async_trait]
impl SubjectAccessReviews for ApiReviews {
    async fn review_access(&self, question: &AccessQuestion) -> Result<AccessVerdict, ReviewError> {
        let User { name, uid, groups, extra } = question.user.clone();
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let review = SubjectAccessReview {
            metadata: ObjectMeta::default(),
            spec: SubjectAccessReviewSpec {
                user: Some(name),
                uid: text(&uid),
                groups: Some(groups),
                extra: Some(extra).filter(|extra| !extra.is_empty()),
                resource_attributes: Some(ResourceAttributes {
                    verb: text(question.verb),
                    version: text("v1"),
                    resource: text("nodes"),
                    subresource: text(question.subresource),
                    name: text(&question.node_name),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            status: None,
        };
        let answer: Result<SubjectAccessReview, _> =
            self.client.create(&ObjectPath::all::<SubjectAccessReview>(), &review).await;
        verdict(&answer.map_err(review_error)?.status.unwrap_or_default())
    }
}

fn verdict(status: &SubjectAccessReviewStatus) -> Result<AccessVerdict, ReviewError> {
    match (status.allowed, status.denied.unwrap_or(false)) {
        (true, true) => Err(ReviewError {
            problem: "webhook subject access review returned both allow and deny response".to_owned(),
            retry: Retry::No,
        }),
        (true, false) => Ok(AccessVerdict::Allowed),
        (false, _) => Ok(AccessVerdict::Refused),
    }
}

fn user(info: UserInfo) -> User {
    let extra: BTreeMap<_, _> = info.extra.unwrap_or_default();
    User {
        name: info.username.unwrap_or_default(),
        uid: info.uid.unwrap_or_default(),
        groups: info.groups.unwrap_or_default(),
        extra,
    }
}

/// A busy server and a lost connection are worth another try; a refusal is not.
fn review_error(error: ApiError) -> ReviewError {
    let retry = match &error {
        ApiError::Unreachable { .. } => Retry::Soon,
        ApiError::Refused { status, .. } if matches!(status.code, 429 | 500) => Retry::Soon,
        ApiError::Refused { status, .. } if status.retry_after.is_some() => Retry::Soon,
        _ => Retry::No,
    };
    ReviewError { problem: error.to_string(), retry }
}

#[cfg(test)]
mod tests;
