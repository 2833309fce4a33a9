//! What the port speaks, seen by another implementation of TLS: `openssl s_client`.

use std::io::Write;
use std::process::{Command, Stdio};

use tributary_tests::Aggregator;

/// What `openssl s_client` says, and whether it got through; `None` without openssl.
fn s_client(aggregator: &Aggregator, args: &[&str]) -> Option<(bool, String)> {
    let ca = aggregator.dir().join("ca.pem");
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &aggregator.address().to_string(), "-verify", "3"]);
    command.arg("-verify_return_error").arg("-CAfile").arg(ca).args(["-alpn", "h2"]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("openssl: {error}"),
    };
    // An end of input ends the connection.
    child.stdin.take().unwrap().write_all(b"Q\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    Some((output.status.success(), said))
}

#[test]
fn tls_1_3_alone_with_a_post_quantum_key_exchange() {
    let root = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::init(root.path());
    aggregator.serve();
    let Some((through, said)) = s_client(&aggregator, &["-tls1_3"]) else {
        println!("skipped: there is no openssl");
        return;
    };
    // The control: it gets in, verifies the chain, and speaks HTTP/2.
    assert!(through && said.contains("Verify return code: 0 (ok)"), "{said}");
    assert!(said.contains("TLSv1.3") && said.contains("ALPN protocol: h2"), "{said}");
    for older in ["-tls1_2", "-tls1_1"] {
        let (through, said) = s_client(&aggregator, &[older]).unwrap();
        assert!(!through, "{older}: {said}");
    }
    let (_, said) = s_client(&aggregator, &["-tls1_2"]).unwrap();
    assert!(said.contains("alert protocol version"), "it is the server that refuses: {said}");

    let hybrid = s_client(&aggregator, &["-tls1_3", "-groups", "X25519MLKEM768"]).unwrap();
    match hybrid {
        (true, said) => assert!(said.contains("X25519MLKEM768"), "{said}"),
        // An openssl older than 3.5 does not know the name and connects to nobody.
        (false, said) if said.contains("group") && !said.contains("CONNECTED") => {
            println!("skipped: this openssl does not know X25519MLKEM768");
        }
        (false, said) => panic!("{said}"),
    }
}
