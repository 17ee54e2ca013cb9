//! A local folder.
use super::*;
pub struct Folder {
    url: String,
}
impl Folder {
    pub fn open(url: &str) -> Result<Self> {
        Ok(Self { url: url.to_owned() })
    }
}
#[async_trait]
impl Store for Folder {
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
