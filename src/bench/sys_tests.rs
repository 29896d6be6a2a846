use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use super::*;

#[test]
fn batches_of_every_size_arrive_whole_and_in_order() {
    for size in [0, 1, 63, 64, 65] {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let texts: Vec<Vec<u8>> = (0..size).map(|i: usize| i.to_string().into_bytes()).collect();
        let datagrams: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 16];
            (0..size.min(BATCH_MAX))
                .map(|_| theirs.recv(&mut buffer).map(|bytes| buffer[..bytes].to_vec()).unwrap())
                .collect::<Vec<_>>()
        });
        let mut sent = 0;
        while sent < size.min(BATCH_MAX) {
            let rest = &datagrams[sent..size.min(BATCH_MAX)];
            sent += send_many(ours.as_fd(), rest).unwrap();
        }
        assert_eq!(reader.join().unwrap(), texts[..size.min(BATCH_MAX)]);
    }
}

#[test]
fn a_closed_peer_is_an_error() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    drop(theirs);
    assert!(send_many(ours.as_fd(), &[b"x"]).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn a_pinned_thread_stays_on_its_processor() {
    std::thread::spawn(|| {
        let cpu = *allowed_cpus().last().unwrap();
        pin(&[cpu]).unwrap();
        assert_eq!(allowed_cpus(), [cpu]);
        assert!(pin(&[1_000_000]).is_err());
    })
    .join()
    .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn work_shows_on_both_cpu_clocks() {
    let (process, thread) = (process_cpu(std::process::id()).unwrap(), thread_cpu().unwrap());
    let until = thread + Duration::from_millis(5);
    while thread_cpu().unwrap() < until {}
    let grown = process_cpu(std::process::id()).unwrap() - process;
    assert!(grown >= Duration::from_millis(5), "{grown:?}");
}
