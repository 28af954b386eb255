//! placeholder
/// Wait.
pub struct Wait(pub std::time::Duration);
/// x
pub trait RateLimit: Send + Sync {
    /// x
    /// # Errors
    /// x
    fn check(&self, client: std::net::IpAddr) -> Result<(), Wait>;
}
