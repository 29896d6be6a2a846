//! The messages of our client against those that unmodified clients sent: no field that none of them has,
//! no field missing that all of them have, and the same types of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use whippet::telemetry_client::{
    Client, Dependency, InstallSignature, Integration, LogRecord, MemoryWriter, Origin, Setting,
};

/// Messages by type, whether they came alone or in a batch; the envelopes under no type.
type Messages = BTreeMap<String, Vec<Value>>;

fn take_apart(mut body: Value, into: &mut Messages) {
    let payload = body.as_object_mut().unwrap().remove("payload").unwrap_or_default();
    let kind = body["request_type"].as_str().unwrap().to_owned();
    into.entry(String::new()).or_default().push(body);
    let mut add = |kind: &str, payload: Value| {
        into.entry(kind.to_owned()).or_default().push(payload);
    };
    if kind == "message-batch" {
        for message in payload.as_array().expect("a batch") {
            let payload = message.get("payload").cloned().unwrap_or_default();
            add(message["request_type"].as_str().unwrap(), payload);
        }
    } else {
        add(&kind, payload);
    }
}

/// What ddtrace 3, ddtrace 4 and dd-trace for Node.js sent.
fn recorded() -> Messages {
    let mut messages = Messages::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/bodies");
    for client in ["py3", "py4", "js"] {
        for entry in fs::read_dir(folder.join(client)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("telemetry-") && name.ends_with(".body") {
                let body = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
                take_apart(body, &mut messages);
            }
        }
    }
    // Of these no body was recorded; the fields are those of ddtrace 4.16.
    let integration = json!({"name": "flask", "enabled": true, "version": "3.0", "compatible": true,
        "auto_enabled": true, "error": null});
    let failed = json!({"name": "kafka", "enabled": false, "version": "", "compatible": false,
        "auto_enabled": false, "error": "no broker"});
    messages.insert(
        "app-integrations-change".into(),
        vec![json!({"integrations": [integration, failed]})],
    );
    let started = messages["app-started"].clone();
    let of_started = |field: &str| -> Vec<Value> {
        started.iter().filter_map(|one| Some(json!({field: one.get(field)?}))).collect()
    };
    messages.insert("app-client-configuration-change".into(), of_started("configuration"));
    let mut products = of_started("products");
    let error = json!({"code": 13, "message": "permission denied"});
    for error in [error, Value::Null] {
        products
            .push(json!({"products": {"x": {"enabled": false, "version": "1", "error": error}}}));
    }
    messages.insert("app-product-change".into(), products.clone());
    messages.get_mut("app-started").unwrap().extend(products.iter().map(|one| {
        json!({"configuration": [], "products": one["products"], "install_signature":
            {"install_id": "1", "install_type": "deb", "install_time": "1700000000"}})
    }));
    let everything: Vec<Value> = started
        .iter()
        .map(|one| {
            json!({"configuration": one["configuration"],
                "dependencies": messages["app-dependencies-loaded"][0]["dependencies"],
                "integrations": messages["app-integrations-change"][0]["integrations"]})
        })
        .collect();
    messages.insert("app-extended-heartbeat".into(), everything);
    messages
}

/// Everything our client can say.
fn ours() -> Messages {
    let memory = MemoryWriter::default();
    let clock = whippet::clock::Clock::manual(std::time::Duration::from_secs(1_700_000_000));
    let client = Client::builder("shop")
        .env("prod")
        .service_version("1.2")
        .clock(clock.clone())
        .writer(memory.clone())
        .install_signature(InstallSignature {
            install_id: Some("1".into()),
            install_type: Some("deb".into()),
            install_time: Some("1700000000".into()),
        })
        .build()
        .unwrap();
    client.configuration([
        Setting::new("text", "1", Origin::Default),
        Setting::new("number", 1, Origin::Code),
        Setting::new("fraction", 0.5, Origin::DdConfig),
        Setting::new("truth", true, Origin::EnvVar),
        Setting::new("nothing", f64::NAN, Origin::EnvVar),
    ]);
    client.product_started("a");
    client.product_failed("b", 13, "permission denied");
    client.start_manually();
    client.flush();
    client.product_stopped("a");
    client.configuration([Setting::new("text", "2", Origin::Default)]);
    client.integration(Integration::new("redis", "1"));
    client.integration(Integration::failed("kafka", "no broker"));
    client.dependencies(|| vec![Dependency { name: "serde".into(), version: "1".into() }]);
    let backtrace = std::backtrace::Backtrace::force_capture();
    client.log(&LogRecord::error("boom").tag("disk", "full").backtrace(&backtrace, &["e2e"]));
    client.count("general", "c", &["a:b"]).submit(1.0);
    client.gauge("general", "g", &["a:b"]).submit(1.5);
    client.rate("general", "r", &["a:b"]).submit(1.0);
    client.distribution("general", "d", &[]).submit(1.0);
    clock.advance(std::time::Duration::from_secs(60));
    client.flush();
    clock.advance(std::time::Duration::from_secs(24 * 3600));
    client.flush();
    client.stop();
    let mut messages = Messages::new();
    memory.take().into_iter().for_each(|body| take_apart(body, &mut messages));
    messages
}

/// Types of JSON by path, and the fields that every object at a path has.
#[derive(Default)]
struct Shape {
    types: BTreeMap<String, BTreeSet<&'static str>>,
    fields: BTreeMap<String, BTreeSet<String>>,
}

impl Shape {
    fn of(values: &[Value]) -> Self {
        let mut shape = Shape::default();
        values.iter().for_each(|value| shape.add("", value));
        shape
    }

    fn add(&mut self, path: &str, value: &Value) {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.types.entry(path.to_owned()).or_default().insert(kind);
        match value {
            Value::Array(list) => list.iter().for_each(|one| self.add(&format!("{path}[]"), one)),
            Value::Object(fields) => {
                // Products stand by their names.
                let by_name = path.ends_with(".products");
                let names: BTreeSet<String> = fields.keys().cloned().collect();
                if !by_name {
                    let common =
                        self.fields.entry(path.to_owned()).or_insert_with(|| names.clone());
                    common.retain(|name| names.contains(name));
                }
                for (name, field) in fields {
                    let name = if by_name { "*" } else { name };
                    self.add(&format!("{path}.{name}"), field);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn our_messages_have_the_fields_and_types_of_unmodified_clients() {
    let (ours, recorded) = (ours(), recorded());
    let kinds: Vec<&str> = ours.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "",
            "app-client-configuration-change",
            "app-closing",
            "app-dependencies-loaded",
            "app-extended-heartbeat",
            "app-heartbeat",
            "app-integrations-change",
            "app-product-change",
            "app-started",
            "distributions",
            "generate-metrics",
            "logs",
        ]
    );
    let mut wrong = Vec::new();
    for (kind, messages) in &ours {
        let (ours, known) = (Shape::of(messages), Shape::of(&recorded[kind]));
        for (path, types) in &ours.types {
            match known.types.get(path) {
                None => wrong.push(format!("{kind}{path}: no client sends it")),
                Some(known) if !types.is_subset(known) => {
                    wrong.push(format!("{kind}{path}: {types:?}, clients send {known:?}"));
                }
                Some(_) => {}
            }
        }
        for (path, fields) in &ours.fields {
            let missing = known.fields.get(path).into_iter().flatten();
            let missing = missing.filter(|name| !fields.contains(*name));
            wrong.extend(missing.map(|name| format!("{kind}{path}.{name} is missing")));
        }
    }
    // The namespace of distributions stands beside each series, as that of metrics does in ddtrace 4.
    // Only ddtrace 3 sends distributions (others sketches), with one namespace per message, and it
    // leaves `common` out; the receivers take both.
    wrong.retain(|line| {
        ![
            "distributions.series[].namespace: no client sends it",
            "distributions.series[].common: no client sends it",
            "distributions.series[].tags[]: no client sends it",
            "distributions.namespace is missing",
        ]
        .contains(&line.as_str())
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_app_started_carries_neither_dependencies_nor_integrations() {
    // The backend refuses one that does.
    let started = &ours()["app-started"][0];
    let fields: Vec<&String> = started.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["configuration", "install_signature", "products"]);
}
