//! A program that reports on itself: settings, parts, numbers and errors.
//!
//! ```text
//! cargo run --example telemetry                              # shows what would be sent
//! cargo run --example telemetry -- http://localhost:8126     # sends it to the agent there
//! ```
//!
//! A whippet with `doors: true` is such an agent: the numbers arrive as metrics
//! (`dd.instrumentation_telemetry_data.general.orders`).

use whippet::telemetry_client::{
    Client, Dependency, ErrorRecords, Integration, LogRecord, MemoryWriter, Origin, Setting, global,
};

/// A library: it knows nothing of clients, and may be used before there is one.
mod cart {
    use super::{Integration, global};

    pub fn connect() {
        global().integration(Integration::new("redis", "1.0"));
    }

    pub fn order(books: u32) {
        let orders = global().count("general", "orders", &["kind:book"]);
        orders.submit(f64::from(books));
        global().distribution("general", "basket_size", &[]).submit(f64::from(books));
    }
}

/// A logger that prints; with the one below before it, errors are reported too.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{} {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Before there is a client.
    cart::connect();
    cart::order(3);

    let records = ErrorRecords::to_global(global(), &["telemetry"]);
    log::set_boxed_logger(Box::new(records.before(Stderr)))?;
    log::set_max_level(log::LevelFilter::Info);

    let agent = std::env::args().nth(1);
    let memory = MemoryWriter::default();
    let builder = Client::builder("shop").service_version("1.2").env("prod");
    let client = match &agent {
        Some(url) => builder.agent_url(url).build()?,
        None => builder.writer(memory.clone()).build()?,
    };
    client.configuration([
        Setting::new("cart_size", 20, Origin::Code),
        Setting::new("currency", "EUR", Origin::EnvVar),
        // Never sent: its name says what it is.
        Setting::new("payment_api_key", "4f1c2a9b", Origin::EnvVar),
    ]);
    client.product_started("checkout");
    client.product_failed("invoices", 13, "permission denied");
    client.dependencies(|| vec![Dependency { name: "serde".into(), version: "1.0".into() }]);
    client.start_manually();
    global().exchange(client.clone());

    cart::order(2);
    let order = 4711;
    log::error!("order {order} failed"); // reported as the place of this line
    global().log(LogRecord::error("an invoice could not be printed").tag("printer", "Office"));
    let report = client.flush();

    cart::order(1);
    global().stop();
    for body in memory.take() {
        println!("{body:#}");
    }
    if let Some(failure) = report.failure {
        return Err(failure.into());
    }
    Ok(())
}
