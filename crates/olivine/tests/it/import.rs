//! Points of other databases and of tables, brought into a running node.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Command, Output, Stdio},
    thread,
};

use olivine_vfs::Interrupt;

use crate::{
    Dir,
    node::Node,
    olivine,
    points::{asked, query},
    text,
};

/// A node of which the doors of time series are open, and a directory for files beside it.
fn start(name: &str) -> (Dir, Node) {
    let dir = Dir::new(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
    let data = format!("{}/data", dir.path());
    fs::create_dir(dir.path()).unwrap();
    command.args(["serve", "--data-dir", &data, "--memory", "64MiB", "--durability", "os"]);
    command.args(["--doors", "influx", "--influx-port", "0"]);
    let node = Node::from(command.stdout(Stdio::piped()));
    (dir, node)
}

fn import(node: &Node, arguments: &[&str], input: &str) -> Output {
    let server = format!("http://127.0.0.1:{}", node.port("influx"));
    olivine(&[&["import", "--server", &server][..], arguments].concat(), input)
}

/// What an import said that went well but for `refused` lines, without its first line.
fn told(output: &Output, lines: u64, points: u64, refused: u64) -> String {
    let said = text(&output.stdout);
    let (first, rest) = said.split_once('\n').unwrap_or((said, ""));
    let count =
        |count: u64, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    let counts = [count(lines, "line"), count(points, "point"), count(refused, "line")];
    assert!(first.starts_with(&format!("{} read (", counts[0])), "{said}{}", text(&output.stderr));
    let written = format!("), {} written, {} refused; ", counts[1], counts[2]);
    assert!(first.contains(&written), "{said}{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(i32::from(refused != 0)), "{said}");
    assert_eq!(text(&output.stderr), "");
    rest.to_owned()
}

/// The values of the only series of an answer.
fn values(node: &Node, statement: &str) -> String {
    let (status, answer) = query(node, statement);
    assert_eq!(status, 200, "{answer}");
    let values = answer.split_once("\"values\":").map(|(_, values)| values);
    values.unwrap_or(&answer).trim_end().trim_end_matches("}]}]}").to_owned()
}

#[test]
fn lines_come_from_a_pipe_and_from_files() {
    let (dir, node) = start("import-lines");
    let lines = "# a comment\n\nm,t=a v=1i,s=\"two\nlines\" 1\nm,t=a v= 2\r\nm,t=a v=3i,s=\"open 3\n\
                 m,t=a v=\"no\" 4\nm,t=a v=5i 5";
    let rest = told(&import(&node, &["--database", "db"], lines), 8, 2, 3);
    let conflict = "field type conflict: input field \"v\" on measurement \"m\" is type string, already exists as type \
                    integer";
    let expected = format!("-:5: missing field value\n-:6: unbalanced quotes\n-:7: {conflict}\n");
    assert_eq!(rest, expected);
    assert_eq!(values(&node, "SELECT v, s FROM m"), "[[1,1,\"two\\nlines\"],[5,5,null]]");
    // Two files, one of them packed, with times in seconds.
    let (plain, packed) = (format!("{}/a.lp", dir.path()), format!("{}/b.gz", dir.path()));
    fs::write(&plain, "n v=1 1\n").unwrap();
    let script = "printf 'n v=2 2\\nn v=3 3\\n' | gzip > \"$0\"";
    assert!(Command::new("sh").args(["-c", script, &packed]).status().unwrap().success());
    let output =
        import(&node, &["--db", "db", "--precision", "s", "--batch", "1", &plain, &packed], "");
    assert_eq!(told(&output, 3, 3, 0), "");
    assert_eq!(values(&node, "SELECT v FROM n"), "[[1000000000,1],[2000000000,2],[3000000000,3]]");
}

/// What `influx_inspect export` writes, which says where its points belong.
#[test]
fn an_export_of_influxdb_makes_its_databases() {
    let (_dir, node) = start("import-export");
    let export = "# INFLUXDB EXPORT: 1677-09-21T00:12:43Z - 2262-04-11T23:47:16Z\n# DDL\n\
                  CREATE DATABASE db WITH NAME autogen\nCREATE RETENTION POLICY short ON db DURATION INF REPLICATION 1\n\
                  DROP DATABASE other\n# DML\n# CONTEXT-DATABASE:db\n# CONTEXT-RETENTION-POLICY:short\n\
                  # writing tsm data\nm v=1 1\n# CONTEXT-RETENTION-POLICY:autogen\nm v=2 2\n";
    let rest = told(&import(&node, &[], export), 12, 2, 1);
    assert!(rest.starts_with("-:5: `DROP DATABASE other` is not carried out: "), "{rest}");
    assert_eq!(values(&node, "SELECT v FROM short.m"), "[[1,1]]");
    assert_eq!(values(&node, "SELECT v FROM m"), "[[2,2]]");
    // With a database of the call everything goes there.
    told(&import(&node, &["--database", "all"], export), 12, 2, 1);
    assert_eq!(values(&node, "SELECT v FROM \"all\"..m"), "[[1,1],[2,2]]");
    // Without one there is nowhere to go.
    let output = import(&node, &[], "m v=1 1\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`--database` says where"), "{}", text(&output.stderr));
}

#[test]
fn tables_become_points() {
    let (dir, node) = start("import-csv");
    let file = format!("{}/loads.csv", dir.path());
    let table = "time,host,rack,load,cores,up,note\n1,a,r 1,0.5,4,true,\"x, \"\"y\"\"\"\n2,a,,1.5,,false,\n\
                 3,b,r1,high,4,true,\n4,b,r1,2,4\n5,b,r1,3,4.5,true,\nyesterday,b,r1,1,1,true,\n6,b,r1,,,,\n";
    fs::write(&file, table).unwrap();
    let flags =
        ["--database", "db", "--measurement", "load", "--tags", "host,rack", "--precision", "s"];
    let output = import(&node, &[&flags[..], &["--types", "cores:integer", &file]].concat(), "");
    let rest = told(&output, 8, 2, 5);
    let expected = [
        "4: `high` of load is no float, which line 2 made of it; `--types load:string` would take any",
        "5: it has 5 values, and the header 7 names",
        "6: `4.5` of cores is no integer",
        "7: `yesterday` is no time (a number or RFC 3339)",
        "8: it has no field with a value",
    ];
    let expected: Vec<String> = expected.iter().map(|line| format!("{file}:{line}\n")).collect();
    assert_eq!(rest, expected.concat());
    assert_eq!(
        values(&node, "SELECT host, rack, load, cores, up, note FROM load"),
        "[[1000000000,\"a\",\"r 1\",0.5,4,true,\"x, \\\"y\\\"\"],[2000000000,\"a\",null,1.5,null,false,null]]"
    );
    // Other signs, other times, and the measurement in a column.
    let table = "when;what;v\n20/11/2026 00:00:00;m;1,5\n";
    let flags =
        ["--database", "db", "--format", "csv", "--delimiter", ";", "--measurement-column", "what"];
    let flags =
        [&flags[..], &["--time-column", "when", "--time-format", "%d/%m/%Y %H:%M:%S"]].concat();
    assert_eq!(told(&import(&node, &flags, table), 2, 1, 0), "");
    assert_eq!(values(&node, "SELECT v FROM m"), "[[1795132800000000000,\"1,5\"]]");
    // A header that does not fit is an error of the call, not of each line.
    let flags = ["--database", "db", "--format", "csv", "--measurement", "m", "--tags", "hots"];
    let output = import(&node, &flags, "time,host,v\n1,a,1\n");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("line 1: there is no column `hots`; there are time, host, v"), "{said}");
}

/// What a query of InfluxDB 2 answers, and what `influx write` reads.
#[test]
fn annotated_tables_say_what_they_are() {
    let (_dir, node) = start("import-annotated");
    let answer = "#group,false,false,true,true,false,false,true,true,true\r\n\
        #datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,double,string,string,string\r\n\
        #default,_result,,,,,,,,\r\n,result,table,_start,_stop,_time,_value,_field,_measurement,host\r\n\
        ,,0,1970-01-01T00:00:00Z,2026-01-01T00:00:00Z,1970-01-01T00:00:01Z,0.5,load,cpu,a\r\n\
        ,,0,1970-01-01T00:00:00Z,2026-01-01T00:00:00Z,1970-01-01T00:00:02Z,x,load,cpu,a\r\n\r\n\
        #group,false,false,true,true,false,false,true,true,true\r\n\
        #datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,long,string,string,string\r\n\
        #default,_result,,,,,,,,\r\n,result,table,_start,_stop,_time,_value,_field,_measurement,host\r\n\
        ,,1,1970-01-01T00:00:00Z,2026-01-01T00:00:00Z,1970-01-01T00:00:01Z,7,cores,cpu,a\r\n";
    let rest = told(&import(&node, &["--database", "db"], answer), 12, 2, 1);
    assert_eq!(rest, "-:6: `x` of load is no float\n");
    assert_eq!(values(&node, "SELECT load, cores, host FROM cpu"), "[[1000000000,0.5,7,\"a\"]]");
    let read = "#datatype measurement,tag,double,string,dateTime:number\nm,host,used,note,time\nmem,b,64.5,\"a,b\",5\n";
    assert_eq!(told(&import(&node, &["--database", "db"], read), 3, 1, 0), "");
    assert_eq!(values(&node, "SELECT host, used, note FROM mem"), "[[5,\"b\",64.5,\"a,b\"]]");
}

#[test]
fn lines_of_json_become_points() {
    let (dir, node) = start("import-json");
    let export = "{\"metric\":{\"__name__\":\"up\",\"job\":\"n o\"},\"values\":[1,0.5,null],\"timestamps\":[1,2,3]}\n\
                  {\"metric\":{\"__name__\":\"up\"},\"values\":[1,2],\"timestamps\":[4]}\nnothing\n";
    let rest = told(&import(&node, &["--database", "db", "--format", "json"], export), 3, 3, 2);
    assert_eq!(
        rest,
        "1 sample without a number left out\n\
         -:2: sample 2: there are not as many values as timestamps\n-:3: column 1: an object should be here\n"
    );
    assert_eq!(
        values(&node, "SELECT value, job FROM up"),
        "[[1000000,1,\"n o\"],[2000000,0.5,\"n o\"],[4000000,1,null]]"
    );
    let file = format!("{}/points.jsonl", dir.path());
    let objects = "{\"ts\":\"2026-11-20T00:00:00Z\",\"host\":\"a\",\"load\":1.5,\"up\":true,\"n\":3,\"s\":\"t\",\"x\":null}\n\
                   {\"ts\":5,\"host\":7,\"load\":{\"one\":1}}\n";
    fs::write(&file, objects).unwrap();
    let flags = ["--database", "db", "--measurement", "o", "--time-column", "ts", "--tags", "host"];
    let output = import(&node, &[&flags[..], &["--types", "n:unsigned", &file]].concat(), "");
    let rest = told(&output, 2, 1, 1);
    let why = "`load` is a list or an object; a point has numbers, texts, true and false";
    assert_eq!(rest, format!("{file}:2: {why}\n"));
    assert_eq!(
        values(&node, "SELECT host, load, n, s, up FROM o"),
        "[[1795132800000000000,\"a\",1.5,3,\"t\",true]]"
    );
}

/// Whoever reads reports is told the same in JSON; and a long list of refusals is cut, not its count.
#[test]
fn a_report_counts_what_it_does_not_tell() {
    let (_dir, node) = start("import-report");
    let lines = "m v=\n".repeat(1_000) + "m v=1 1\n";
    let rest = told(&import(&node, &["--database", "db"], &lines), 1_001, 1, 1_000);
    let shown: Vec<&str> = rest.lines().collect();
    assert_eq!(
        (shown.len(), shown[0], shown[10]),
        (11, "-:1: missing field value", "and 990 more")
    );
    let output = import(&node, &["--database", "db", "--json"], "m v=1 1\nm v\n");
    let said = text(&output.stdout);
    let told = "{\"file\":\"-\",\"line\":2,\"reason\":\"invalid field format\"}";
    assert!(
        said.starts_with("{\"lines\":2,\"bytes\":12,\"points\":1,\"refused\":1,\"refusals\":["),
        "{said}"
    );
    assert!(said.contains(told) && said.ends_with(",\"go_on\":null}\n"), "{said}");
}

/// A node that goes away in the middle: what it acknowledged is known, and going on from there loses nothing.
#[test]
fn an_import_that_is_cut_short_says_where_to_go_on() {
    let (dir, node) = start("import-cut");
    let file = format!("{}/m.lp", dir.path());
    let lines: Vec<String> = (1..=1_000).map(|time| format!("m v={time}i {time}\n")).collect();
    fs::write(&file, lines.concat()).unwrap();
    // Somebody in between lets three requests through, and is gone then.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = format!("http://{}", listener.local_addr().unwrap());
    let target = format!("127.0.0.1:{}", node.port("influx"));
    let thread = thread::Builder::new().spawn(move || {
        let mut client = BufReader::new(listener.accept().unwrap().0);
        drop(listener);
        for _ in 0..3 {
            let mut server = std::net::TcpStream::connect(&target).unwrap();
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let mut line = String::new();
                assert_ne!(client.read_line(&mut line).unwrap(), 0);
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                head += &line;
            }
            let mut body = vec![0; length];
            client.read_exact(&mut body).unwrap();
            server.write_all(head.as_bytes()).unwrap();
            server.write_all(&body).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                server.read_exact(&mut byte).unwrap();
                answer.push(byte[0]);
            }
            client.get_mut().write_all(&answer).unwrap();
        }
        // What is closed with something unread is reset, and the last answers lost with it.
        client.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
        client.read_to_end(&mut Vec::new()).ok();
    });
    let arguments = ["import", "--server", &between, "--database", "db", "--batch", "100", &file];
    let output = olivine(&arguments, "");
    thread.unwrap().join().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    let go_on = format!("300 points are written, go on with --from-line 300 {file}\n");
    assert!(said.ends_with(&go_on), "{said}");
    assert_eq!(values(&node, "SELECT count(v) FROM m"), "[[0,300]]");
    let output = import(&node, &["--database", "db", "--from-line", "300", &file], "");
    told(&output, 1_000, 701, 0);
    assert_eq!(values(&node, "SELECT count(v), sum(v) FROM m"), "[[0,1000,500500]]");
    // Who is not there at all is told with the same exit code, and nothing is read.
    node.end(Interrupt::Term);
    let output = olivine(&arguments, "");
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("is the node there, and its door of time series"));
}

/// A file that is far larger than what the program may take: it is read piece by piece.
#[test]
#[ignore = "writes 200 MB; `cargo xtask test --only clients`"]
fn memory_is_bounded_whatever_the_file() {
    let (dir, node) = start("import-large");
    let file = format!("{}/large.lp", dir.path());
    let lines = "awk 'BEGIN { for (t = 0; t < 2000000; t++) printf \"cpu,host=host_%d,region=eu-central-1 usage_user=%di,\
                 usage_system=%di,usage_idle=%di %d\\n\", t % 100, t % 97, t % 89, t % 83, t }' > \"$0\"";
    assert!(Command::new("sh").args(["-c", lines, &file]).status().unwrap().success());
    let script = "ulimit -v 262144; exec \"$0\" import --server \"$1\" --database db --json \"$2\"";
    let server = format!("http://127.0.0.1:{}", node.port("influx"));
    let program = env!("CARGO_BIN_EXE_olivine");
    let output = Command::new("sh").args(["-c", script, program, &server, &file]).output().unwrap();
    let said = text(&output.stdout);
    assert!(said.contains("\"points\":2000000,\"refused\":0"), "{said}{}", text(&output.stderr));
    let (_, answer) =
        asked(&node, "influx", "GET", "/query?db=db&q=SELECT+count(usage_idle)+FROM+cpu", "", b"");
    assert!(answer.contains(",2000000]"), "{answer}");
}
