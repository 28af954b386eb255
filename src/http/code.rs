//! The table of problem codes: name, status and title of each.

use actix_web::http::StatusCode;

macro_rules! codes {
    ($($name:ident $slug:literal $status:ident $title:literal;)*) => {
        /// The kind of a problem. The names are part of the interface and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the title in the table says it")]
        pub enum Code { $($name),* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the name in replies.
            #[must_use]
            pub fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug),* }
            }

            /// Returns the HTTP status.
            #[must_use]
            pub fn status(self) -> u16 {
                self.status_code().as_u16()
            }

            /// Returns the title in replies.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            fn listed_status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }
        }
    };
}

codes! {
    BadId               "bad-id"                 BAD_REQUEST            "Not an id";
    BadQuery            "bad-query"              BAD_REQUEST            "Bad query";
    BadCursor           "bad-cursor"             BAD_REQUEST            "Bad cursor";
    BadOption           "bad-option"             BAD_REQUEST            "Bad upload option";
    BadMultipart        "bad-multipart"          BAD_REQUEST            "Bad multipart body";
    BadProfile          "bad-profile"            BAD_REQUEST            "Bad profile";
    BadUpload           "bad-upload"             BAD_REQUEST            "Bad header of an upload";
    NoFile              "no-file"                BAD_REQUEST            "No file";
    SeveralFiles        "several-files"          BAD_REQUEST            "More than one file";
    LateOption          "late-option"            BAD_REQUEST            "Option after the file";
    BadKey              "bad-idempotency-key"    BAD_REQUEST            "Bad Idempotency-Key";
    BodyCut             "body-cut"               BAD_REQUEST            "Body cut short";
    Unauthorized        "unauthorized"           UNAUTHORIZED           "Not authorized";
    NotFound            "not-found"              NOT_FOUND              "No such route";
    BatchMissing        "batch-missing"          NOT_FOUND              "No such batch";
    JobMissing          "job-missing"            NOT_FOUND              "No such job";
    ProfileMissing      "profile-missing"        NOT_FOUND              "No such profile";
    QueueMissing        "queue-missing"          NOT_FOUND              "No such queue";
    UploadMissing       "upload-missing"         NOT_FOUND              "No such upload";
    MethodNotAllowed    "method-not-allowed"     METHOD_NOT_ALLOWED     "Method not allowed";
    BodyTimeout         "body-timeout"           REQUEST_TIMEOUT        "Body too slow";
    HostNotAllowed      "host-not-allowed"       MISDIRECTED_REQUEST    "Not a name of this service";
    CrossSite           "cross-site"             FORBIDDEN              "Request of another site";
    UploadBusy          "upload-busy"            LOCKED                 "Upload is being appended to";
    JobNotDead          "job-not-dead"           CONFLICT               "Job is not dead";
    OffsetMismatch      "offset-mismatch"        CONFLICT               "Upload goes on elsewhere";
    UploadComplete      "upload-complete"        CONFLICT               "Upload is complete";
    KeyBusy             "idempotency-key-busy"   CONFLICT               "Still under way";
    BatchDeleted        "batch-deleted"          GONE                   "Batch was deleted";
    TusVersion          "unsupported-tus-version" PRECONDITION_FAILED   "Another version of tus";
    TooLarge            "too-large"              PAYLOAD_TOO_LARGE      "Body too large";
    RangeNotSatisfiable "range-not-satisfiable"  RANGE_NOT_SATISFIABLE  "Range after the end";
    UnsupportedType     "unsupported-type"       UNSUPPORTED_MEDIA_TYPE "Unsupported type of body";
    NotCsv              "not-csv"                UNPROCESSABLE_ENTITY   "Not a CSV file";
    BadArchive          "bad-archive"            UNPROCESSABLE_ENTITY   "Can't be unpacked";
    EmptyFile           "empty-file"             UNPROCESSABLE_ENTITY   "Empty file";
    HeaderOnly          "header-only"            UNPROCESSABLE_ENTITY   "No rows";
    MissingColumns      "missing-columns"        UNPROCESSABLE_ENTITY   "Missing column";
    AmbiguousColumns    "ambiguous-columns"      UNPROCESSABLE_ENTITY   "Several columns for one";
    DuplicateColumn     "duplicate-column"       UNPROCESSABLE_ENTITY   "Column appears twice";
    TooManyColumns      "too-many-columns"       UNPROCESSABLE_ENTITY   "Too many columns";
    BadHeader           "bad-header"             UNPROCESSABLE_ENTITY   "Unreadable header";
    NoValidRows         "no-valid-rows"          UNPROCESSABLE_ENTITY   "No valid row";
    TooManyErrors       "too-many-errors"        UNPROCESSABLE_ENTITY   "Too many bad rows";
    TooManyEventTypes   "too-many-event-types"   UNPROCESSABLE_ENTITY   "Too many event types";
    TooManyDays         "too-many-days"          UNPROCESSABLE_ENTITY   "Too many days";
    KeyReused           "idempotency-key-reused" UNPROCESSABLE_ENTITY   "Idempotency-Key used for something else";
    TooManyProfiles     "too-many-profiles"      UNPROCESSABLE_ENTITY   "Too many profiles";
    RangeTooLong        "range-too-long"         UNPROCESSABLE_ENTITY   "Range too long";
    ChecksumMismatch    "checksum-mismatch"      UNPROCESSABLE_ENTITY   "Checksum mismatch";
    RateLimited         "rate-limited"           TOO_MANY_REQUESTS      "Too many uploads";
    TooManyAttempts     "too-many-attempts"      TOO_MANY_REQUESTS      "Too many wrong tokens";
    Internal            "internal"               INTERNAL_SERVER_ERROR  "Internal error";
    AdminDisabled       "admin-disabled"         SERVICE_UNAVAILABLE    "Admin routes are off";
    Unavailable         "unavailable"            SERVICE_UNAVAILABLE    "Not available";
    OutcomeUnknown      "outcome-unknown"        SERVICE_UNAVAILABLE    "Outcome not known";
}

impl Code {
    pub(super) fn status_code(self) -> StatusCode {
        match self {
            // A status of tus that HTTP does not define.
            Self::ChecksumMismatch => StatusCode::from_u16(460).expect("three digits"),
            listed => listed.listed_status(),
        }
    }
}
