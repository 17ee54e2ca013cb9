//! S3.
use super::*;
pub struct Bucket {
    url: String,
}
impl Bucket {
    pub async fn open(bucket: String, _prefix: String, _: &WriteOptions) -> Result<Self> {
        Ok(Self { url: bucket })
    }
}
#[async_trait]
impl Store for Bucket {
    fn url(&self) -> &str {
        &self.url
    }
    async fn create(&self, _: &str, _: &Metadata) -> Result<Box<dyn Upload>> {
        todo!()
    }
    async fn open(&self, _: &str) -> Result<Box<dyn Download>> {
        todo!()
    }
    async fn list(&self, _: &str) -> Result<Vec<Entry>> {
        todo!()
    }
    async fn folders(&self, _: &str) -> Result<Vec<String>> {
        todo!()
    }
    async fn remove(&self, _: &[String]) -> Result<()> {
        todo!()
    }
    async fn remove_unfinished(&self, _: &str) -> Result<usize> {
        todo!()
    }
    async fn probe(&self) -> Result<()> {
        todo!()
    }
}
