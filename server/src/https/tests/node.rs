//! What 10250 shows of the node itself: log files, queries, flags, status, debugging, checkpoints, and their switches.

use super::*;

async fn running(change: impl FnOnce(&mut HttpsOptions)) -> (Running, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("directory");
    let mut options = options(directory.path());
    change(&mut options);
    (Running::new(options).await, directory)
}

#[tokio::test]
async fn log_files_are_served_and_queries_answered() {
    let (running, _directory) = running(|_| {}).await;
    let list = running.get("/logs/").await;
    assert_eq!(list.header("content-type"), "text/html; charset=utf-8");
    assert!(
        list.body.contains("<a href=\"%3Ca%20%26%20b%3E.log\">&lt;a &amp; b&gt;.log</a>\n"),
        "{}",
        list.body
    );
    let file = running.get("/logs/app.log").await;
    assert_eq!((file.body.as_str(), file.header("content-length")), ("text of app.log\n", "16"));
    assert_eq!(file.header("last-modified"), "Fri, 15 Jan 2027 08:00:00 GMT");
    let table = [
        ("/logs/none", 404, "404 page not found\n"),
        ("/logs/%2e%2e/secret", 403, "403 Forbidden\n"),
        ("/logs/?query=%2Fapp.log", 200, "text of app.log\n"),
        (
            "/logs/?query=%2Fnone",
            406,
            "query: Invalid value: [\"/none\"]: statat /none: no such file or directory\n",
        ),
        ("/logs/app.log?query=foo", 406, "path not allowed in query mode\n"),
        (
            "/logs/?tailLines=x",
            400,
            "tailLines: Invalid value: \"x\": strconv.Atoi: parsing \"x\": invalid syntax\n",
        ),
        ("/logs/?tailLines=1", 406, "query: Required value: cannot be empty with options\n"),
        (
            "/logs/?query=kubelet&tailLines=1",
            200,
            "journal --utc --no-pager --output=short-precise --pager-end --lines=1 --unit=kubelet\n",
        ),
        (
            "/logs/?query=foo&query=bar&query=none",
            200,
            "text of foo.log\ntext of bar/bar.log\n\nlog not found for none\n",
        ),
        (
            "/logs/?query=foo&boot=0",
            200,
            "\noptions present and query resolved to log files for [foo]\ntry without specifying options\n",
        ),
    ];
    for (path, status, body) in table {
        let answer = running.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (status, body), "{path}");
    }
}

#[tokio::test]
async fn flags_and_status_are_shown_as_text_and_as_objects() {
    let (running, _directory) = running(|_| {}).await;
    let flagz = running.get("/flagz").await;
    assert_eq!(flagz.header("content-type"), "text/plain; charset=utf-8");
    assert!(
        flagz
            .body
            .starts_with("\nkubelet flagz\nWarning: This endpoint is not meant to be machine parseable")
    );
    assert!(flagz.body.contains("/k.yaml\n"), "{}", flagz.body);
    let statusz = running.get("/statusz").await.body;
    for part in
        ["1 hr 02 min 05 sec\n", "Fri Jan 15 06:57:55 UTC 2027\n", " 1.37.2\n", " 1.37\n", "/configz /debug"]
    {
        assert!(statusz.contains(part), "no {part:?} in {statusz}");
    }
}

#[tokio::test]
async fn the_logs_verbosity_changes_and_profiles_of_go_are_unknown() {
    let (running, _directory) = running(|_| {}).await;
    let put = async |body: &'static str| {
        let stream = connect(running.handle.socket_address().expect("bound"), None).await;
        let answer = ask(stream, "PUT", "/debug/flags/v", body).await;
        (answer.status.as_u16(), answer.body)
    };
    assert_eq!(put("4").await, (200, "successfully set klog.logging.verbosity to 4\n".to_owned()));
    let bad = "strconv.ParseUint: parsing \"x\": invalid syntax\n";
    assert_eq!(put("x").await, (400, bad.to_owned()));
    let get = running.get("/debug/flags/v").await;
    assert_eq!((get.status.as_u16(), get.body.as_str()), (406, "unsupported http method\n"));
    assert_eq!(running.get("/debug/pprof/cmdline").await.body, "kubelet\0--v=2");
    assert_eq!(running.get("/debug/pprof/").await.status.as_u16(), 200);
    let heap = running.get("/debug/pprof/heap").await;
    assert_eq!(
        (heap.status.as_u16(), heap.body.as_str(), heap.header("x-go-pprof")),
        (404, "Unknown profile\n", "1")
    );
}

#[tokio::test]
async fn each_part_has_its_switch() {
    let (off, _directory) = running(|options| {
        options.checkpoints = None;
        let node = &mut options.node;
        node.logs = NodeLogs::Off;
        (node.profiling, node.debug_flags) = (Switch::Off, Switch::Off);
        (node.flagz, node.statusz) = (Switch::Off, Switch::Off);
    })
    .await;
    for (path, status, body) in [
        ("/logs/", 405, "logs endpoint is disabled.\n"),
        ("/logs/app.log", 405, "logs endpoint is disabled.\n"),
        ("/debug/pprof/cmdline", 405, "profiling endpoint is disabled.\n"),
        ("/debug/flags/v", 405, "flags endpoint is disabled.\n"),
        ("/flagz", 404, "404 page not found\n"),
        ("/statusz", 404, "404 page not found\n"),
        ("/checkpoint/default/web/main", 404, "404 page not found\n"),
    ] {
        let answer = off.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (status, body), "{path}");
    }
    let (files, _directory) = running(|options| options.node.logs = NodeLogs::Files).await;
    assert_eq!(files.get("/logs/app.log?query=kubelet").await.body, "text of app.log\n");
    let (none, _directory) = running(|options| options.debugging = DebugHandlers::Disabled).await;
    for path in
        ["/run/", "/exec/a", "/attach/a", "/portForward/a", "/runningpods/", "/debug/pprof/heap", "/logs/a"]
    {
        let answer = none.ask_as(None, "POST", path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (405, "Debug endpoints are disabled.\n"),
            "{path}"
        );
    }
    for path in ["/flagz", "/statusz", "/checkpoint/a/b/c", "/debug/flags/v", "/configz"] {
        assert_eq!(none.get(path).await.status.as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn checkpoints_are_made_within_bounds() {
    let (running, _directory) = running(|_| {}).await;
    let post = async |path: &str| {
        let answer = running.ask_as(None, "POST", &format!("/checkpoint/default/{path}")).await;
        (answer.status.as_u16(), answer.body)
    };
    let location = "/var/lib/kubelet/checkpoints/checkpoint-web_default-main-2027-01-15T08:00:00Z.tar";
    assert_eq!(post("web/main?timeout=1&timeout=7").await, (200, format!("{{\"items\":[\"{location}\"]}}")));
    let made = running.agent.checkpoints.lock().expect("lock").clone();
    assert_eq!(made, [(location.to_owned(), Duration::from_secs(7))]);
    let text = |words: &str| words.to_owned();
    assert_eq!(post("gone/main").await, (404, text("pod does not exist")));
    assert_eq!(post("web/gone").await, (404, text("container gone does not exist")));
    assert_eq!(post("web/main?timeout=x").await, (404, text("cannot parse value of timeout parameter")));
    assert_eq!(
        post("web/waiting").await,
        (500, text("checkpointing of default/web/waiting failed (container waiting not found)"))
    );
    *running.agent.stream_url.lock().expect("lock") = "Unknown".to_owned();
    assert_eq!(
        post("web/main").await,
        (500, text("checkpointing of default/web/main failed (rpc error: code = Unknown desc = words)"))
    );
    running.agent.view.send_replace(Arc::new(view_of(vec![pod_view("default", "full")])));
    let (status, words) = post("full/main").await;
    assert!(status == 507 && words.contains("keeps 10 checkpoints of this pod"), "{status} {words}");
}
