//! What faults cost: the sets of [`tests::failover::sets`] in their short form. Viewers and encoders notice what is promised, no more.

use tests::failover::{Form, Scene, cases, sets};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_undisturbed_stream_comes_whole_to_every_viewer() {
    let mut scene = Scene::at_an_edge(tests::Cluster::start(), Form::SHORT);
    cases::undisturbed(&mut scene).assert_promise();
}

/// Runs a set; every row must keep its promise.
#[expect(dead_code)]
fn kept(set: &str) {
    let set = sets::ALL.iter().find(|known| known.name == set).expect("the set exists");
    set.run(Form::SHORT, |row| {
        println!("{}", row.line());
        row.assert_promise();
    });
}
