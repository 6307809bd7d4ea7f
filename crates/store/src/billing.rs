//! Storage classes that bill an object for a time at least, however soon it is deleted.

/// Days that S3 bills an object of this class for at least
/// (<https://aws.amazon.com/s3/storage-classes/>, "minimum storage duration charge").
#[must_use]
pub(crate) fn s3_billed_days(class: &str) -> u16 {
    match class {
        "STANDARD_IA" | "ONEZONE_IA" => 30,
        "GLACIER_IR" | "GLACIER" => 90,
        "DEEP_ARCHIVE" => 180,
        _ => 0,
    }
}

/// The same of Azure's access tiers (<https://learn.microsoft.com/azure/storage/blobs/access-tiers-overview>).
#[must_use]
pub(crate) fn azure_billed_days(tier: &str) -> u16 {
    match tier.to_ascii_lowercase().as_str() {
        "cool" => 30,
        "cold" => 90,
        "archive" => 180,
        _ => 0,
    }
}

/// The same of Google Cloud Storage (<https://cloud.google.com/storage/docs/storage-classes>).
#[must_use]
pub(crate) fn gcs_billed_days(class: &str) -> u16 {
    match class.to_ascii_lowercase().as_str() {
        "nearline" => 30,
        "coldline" => 90,
        "archive" => 365,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_billed_as_their_vendors_say() {
        assert_eq!((s3_billed_days("STANDARD"), s3_billed_days("DEEP_ARCHIVE")), (0, 180));
        assert_eq!((azure_billed_days("Hot"), azure_billed_days("Archive")), (0, 180));
        assert_eq!((gcs_billed_days("STANDARD"), gcs_billed_days("ARCHIVE")), (0, 365));
    }
}
