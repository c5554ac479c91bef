//! `olivine init`, `user` and `token`, beside a node that runs and without one; TLS as openssl and curl see it.

use crate::{
    Dir,
    node::{Node, sh},
    olivine, text,
};

pub(crate) fn said(arguments: &[&str], input: &str) -> String {
    let output = olivine(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

fn refused(arguments: &[&str], input: &str, code: i32) -> String {
    let output = olivine(arguments, input);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr).to_owned()
}

#[test]
fn users_are_made_changed_listed_and_removed() {
    let dir = Dir::new("users");
    let d = ["--data-dir", dir.path()];
    let with =
        |words: &str| -> Vec<String> { words.split(' ').chain(d).map(str::to_owned).collect() };
    let run = |words: &str, input: &str| {
        let words = with(words);
        said(&words.iter().map(String::as_str).collect::<Vec<_>>(), input)
    };
    let fail = |words: &str, input: &str, code: i32| {
        let words = with(words);
        refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), input, code)
    };
    assert!(fail("user add eve --role reader", "", 1).contains("the first user must be an admin"));
    let made = run("init", "");
    assert!(made.starts_with("made the user `admin`, an admin\npassword, shown once: "), "{made}");
    assert!(fail("init", "", 1).contains("there are users already"));
    assert_eq!(
        run("user add ada --role reader --prefix a: --password-file -", "opensesame\nmore\n"),
        "added the user `ada`, a reader, for keys that begin with a:\n",
        "a password that somebody chose is not shown"
    );
    assert!(fail("user add bob --password-file -", "short\n", 2).contains("8 to 1024 bytes"));
    assert!(fail("user add ada", "", 1).contains("olivine user change ada"));
    assert!(fail("user add a!b", "", 1).contains("letters, digits"));
    assert!(fail("user add bob --role root", "", 2).contains("reader, writer, admin"));
    assert!(fail("user fly", "", 2).contains("add, change, list, remove"));
    assert!(fail("user remove bob", "", 3).contains("there is no user `bob`"));
    assert!(fail("user remove admin", "", 1).contains("no admin would be left without `admin`"));
    assert!(
        run("user change ada --role writer", "").starts_with("changed the user `ada`, a writer")
    );

    let token = run("token create ada --expires 90d --json", "");
    let id = token.split("\"id\":\"").nth(1).unwrap()[..12].to_owned();
    assert!(token.contains(&format!("\"token\":\"olv_{id}_")), "{token}");
    assert!(fail("token create nobody", "", 3).contains("there is no user `nobody`"));
    assert!(fail("token create ada --expires 1y", "", 2).contains("90d, 12h or 30m"));
    let list = run("user list", "");
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(list.contains(&id) && list.contains("a:…"), "{list}");
    assert_eq!(run("token list", "").lines().count(), 2);
    assert_eq!(run(&format!("token revoke {id}"), ""), format!("revoked the token {id}\n"));
    assert!(fail(&format!("token revoke {id}"), "", 3).contains("there is no token"));
    assert_eq!(run("token list --json", ""), "[]\n");
    run("user remove ada", "");
    assert!(run("user remove admin", "").ends_with("nobody is asked who they are any more\n"));
}

#[test]
#[ignore = "needs curl and openssl; `cargo xtask test --only clients`"]
fn clients_log_in_through_tls() {
    let dir = Dir::new("users-tls");
    let d = ["--data-dir", dir.path()];
    said(&[&["init", "--password-file", "-"][..], &d].concat(), "correct horse\n");
    let node = Node::start(&dir, &["--tls", "auto"]);
    let token = said(&[&["token", "create", "admin"][..], &d].concat(), "");
    let token = token.lines().last().unwrap();
    let curl = format!("curl -sS --cacert {}/tls/cert.pem", dir.path());
    let url = "https://localhost:$HTTP/kv/apple";
    sh(&node, &format!("{curl} -u 'admin:correct horse' -X PUT --data-binary red {url}"));
    let bearer = format!("-H 'authorization: Bearer {token}'");
    assert_eq!(sh(&node, &format!("{curl} {bearer} {url}")), "red");
    let status = "-o /dev/null -w '%{http_code}'";
    assert_eq!(sh(&node, &format!("{curl} {status} {url}")), "401");
    assert_eq!(sh(&node, &format!("{curl} {status} -u admin:wrong {url}")), "401");
    assert_eq!(sh(&node, &format!("{curl} {status} https://localhost:$JSON/livez")), "200");
    let plain = format!("curl -sS {status} http://localhost:$HTTP/livez");
    assert_eq!(sh(&node, &plain), "400");

    let openssl =
        format!("openssl s_client -connect localhost:$LINE -CAfile {}/tls/cert.pem", dir.path());
    let lines = format!(
        "printf 'AUTH {token}\\nGET apple\\n' | (cat; sleep 0.5) | {openssl} -quiet -verify_return_error -no_ign_eof 2>/dev/null"
    );
    assert_eq!(sh(&node, &lines), "OK\nOK red\n");
    for (version, agreed) in
        [("-tls1_2", true), ("-tls1_3", true), ("-tls1_1 -cipher ALL:@SECLEVEL=0", false)]
    {
        let shake = format!(
            "{openssl} {version} </dev/null >/dev/null 2>&1 && echo agreed || echo refused"
        );
        let wanted = if agreed { "agreed\n" } else { "refused\n" };
        assert_eq!(sh(&node, &shake), wanted, "{version}");
    }
    // A backup comes the same way, for an admin whose token nobody else can read.
    let (file, target) = (format!("{}/token", dir.path()), format!("{}/backups", dir.path()));
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let url = format!("https://localhost:{}", node.port("http"));
    let ca = format!("{}/tls/cert.pem", dir.path());
    let call = ["backup", "--server", &url, "--token-file", &file, &target, "--ca"];
    sh(&node, &format!("chmod 644 {file}"));
    assert!(refused(&[&call[..], &[&ca]].concat(), "", 2).contains("chmod 600"));
    sh(&node, &format!("chmod 600 {file}"));
    // Nobody in the system vouches for the node.
    assert!(refused(&call[..6], "", 4).contains("cannot connect"));
    let bare = ["backup", "--server", &url, &target, "--ca", &ca];
    assert!(refused(&bare, "", 1).contains("say who you are"));
    assert!(said(&[&call[..], &[&ca]].concat(), "").starts_with("backup 1: "));
    let restored = format!("{}/restored", dir.path());
    said(&["restore", &target, "--data-dir", &restored], "");
    let users = said(&["user", "list", "--data-dir", &restored], "");
    assert!(users.contains("admin"), "{users}");

    // The greeting's fingerprint is the one that openssl shows.
    let shown = sh(
        &node,
        &format!("openssl x509 -in {}/tls/cert.pem -noout -fingerprint -sha256", dir.path()),
    );
    let shown = shown.trim().rsplit_once('=').unwrap().1;
    assert!(node.greeting.contains(&format!("SHA-256 {shown}\n")), "{}", node.greeting);
}

#[test]
fn certificates_are_made_once_for_each_machine() {
    let dir = Dir::new("certify");
    let first = said(&["certify", dir.path(), "db"], "");
    assert!(first.starts_with("made an authority: "), "{first}");
    let second = said(&["certify", dir.path(), "10.0.0.2", "--json"], "");
    assert!(second.contains("\"authority_is_new\":false"), "{second}");
    assert!(refused(&["certify", dir.path(), "db"], "", 1).contains("cannot make"));
    assert!(refused(&["certify", dir.path(), "../db"], "", 2).contains("no name of a machine"));
    // Taken up by a storage, which then has only the socket's data directory to miss.
    let file = |name: &str| format!("{}/{name}", dir.path());
    let (ca, cert, key) = (file("ca.pem"), file("db.pem"), file("10.0.0.2-key.pem"));
    let store = file("data");
    let call = ["storage", "--data-dir", &store, "--listen", "127.0.0.1:0", "--peer-ca", &ca];
    let wrong = [&call[..], &["--peer-cert", &cert, "--peer-key", &key]].concat();
    assert!(refused(&wrong, "", 78).contains("it is not the key of"));
    assert!(refused(&call, "", 2).contains("go together"));
}
