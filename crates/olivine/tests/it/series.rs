//! Time series as clients that nobody here wrote send and ask for them.

use std::process::Command;

use crate::{Dir, node::Node, text};

/// What a shell command prints, with the ports of the doors of time series in `$INFLUX`, `$SELECT` and `$INGEST`.
fn sh(node: &Node, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", script])
        .env("INFLUX", node.port("influx"))
        .env("SELECT", node.port("select"))
        .env("INGEST", node.port("ingest"))
        .output()
        .unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{script}: {said}");
    said
}

const POINT: &str = "[\n{\"measurement\":\"measurement\",\"tags\":{\"tag1\":\"value1\",\"tag2\":\"value2\"},\
                     \"fields\":{\"field1\":10},\"timestamp\":\"1465839830100400200\"}]\n";

/// The lines of the sources, as they stand there but for the ports.
#[test]
#[ignore = "needs curl; `cargo xtask test --only clients`"]
fn curl_writes_and_asks() {
    let dir = Dir::new("series-curl");
    let write = "curl -sX POST -d 'measurement,tag1=value1,tag2=value2 field1=10,field2=20 1465839830100400200' \
                 http://localhost:";
    let ask = "/?query=select%20field1%20from%20measurement%20where%20tag1=value1";
    let node = Node::start(&dir, &[]);
    assert_eq!(sh(&node, &format!("{write}$INFLUX")), "1 point written\n");
    assert_eq!(sh(&node, &format!("curl -s \"http://localhost:$SELECT{ask}\"")), POINT);
    drop(node);
    // It was killed, and what it had acknowledged is there.
    let node = Node::start(&dir, &[]);
    assert_eq!(sh(&node, &format!("curl -s \"http://localhost:$INGEST{ask}\"")), POINT);
    assert_eq!(sh(&node, &format!("{write}$INGEST")), "1 point written\n");
    let packed = "printf 'cpu,host=a v=1i 1\\ncpu,host=b v=2i 1\\n' | gzip | curl -s -o /dev/null -w '%{http_code}' \
                  -H 'content-encoding: gzip' --data-binary @- \
                  \"localhost:$INFLUX/api/v2/write?bucket=telegraf%2Fautogen&org=o&precision=s\"";
    assert_eq!(sh(&node, packed), "204");
    let csv = "curl -s -H 'accept: application/csv' -G localhost:$INFLUX/query --data-urlencode db=telegraf \
               --data-urlencode 'q=SELECT sum(v) FROM cpu'";
    assert_eq!(sh(&node, csv), "name,tags,time,sum\ncpu,,0,3\n");
}

/// InfluxDB's own shell, which asks for pieces and for nanoseconds.
#[test]
#[ignore = "needs influx; `cargo xtask test --only clients`"]
fn influx_writes_and_asks() {
    let dir = Dir::new("series-influx");
    let node = Node::start(&dir, &[]);
    let influx = |statement: &str| {
        sh(&node, &format!("influx -port $INFLUX -database c -format csv -execute '{statement}'"))
    };
    influx("CREATE DATABASE c");
    influx("INSERT cpu,host=a\\ b v=1.5,n=2i,s=\"x y\" 5");
    influx("INSERT cpu,host=c v=2 6");
    assert_eq!(
        influx("SELECT * FROM cpu"),
        "name,time,host,n,s,v\ncpu,5,a b,2,x y,1.5\ncpu,6,c,,,2\n"
    );
    assert_eq!(influx("SHOW MEASUREMENTS"), "name,name\nmeasurements,cpu\n");
    let keys = "name,fieldKey,fieldType\ncpu,n,integer\ncpu,s,string\ncpu,v,float\n";
    assert_eq!(influx("SHOW FIELD KEYS"), keys);
    influx("DROP DATABASE c");
}
