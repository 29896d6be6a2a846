//! The file of a Unix socket at work: whether clients still find us there, and binding again when
//! another program removed or replaced it. Never steals a live socket.

use super::socket_file::{SocketFile, SocketPlace, bind_path, identity};
use super::source::{Source, SourceSettings};
use super::{ListenerId, Problem, ProblemKind};

/// A socket file that is looked at again and again.
#[derive(Debug)]
pub(super) struct WatchedFile {
    pub(super) listener: ListenerId,
    place: SocketPlace,
    kept: Kept,
    settings: SourceSettings,
    /// Why clients cannot find us, if they cannot; a problem is reported once.
    lost: Option<ProblemKind>,
}

#[derive(Debug)]
enum Kept {
    /// We made it, and remove it at the end.
    Ours(SocketFile),
    /// A service manager made it: device and inode.
    Managers((u64, u64)),
}

/// What a look at the file found.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing new.
    Unchanged,
    /// It was lost, and this socket is bound in its place.
    BoundAgain(Source),
    /// It is lost; clients find no one, or another process.
    Lost(Problem),
}

impl WatchedFile {
    /// Watches the file that we made or else the manager's, if that is there.
    pub(super) fn new(
        listener: ListenerId,
        place: SocketPlace,
        file: Option<SocketFile>,
        settings: SourceSettings,
    ) -> Option<Self> {
        let kept = match file {
            Some(file) => Kept::Ours(file),
            None => Kept::Managers(identity(&place.path).ok()?),
        };
        Some(WatchedFile { listener, place, kept, settings, lost: None })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Whether the file at the path is still the one of our socket.
    pub(super) fn is_in_place(&self) -> bool {
        match &self.kept {
            Kept::Ours(file) => file.is_in_place(),
            Kept::Managers(known) => identity(&self.place.path).is_ok_and(|found| found == *known),
        }
    }

    /// Looks whether clients find us, and binds again if they do not.
    pub(super) fn look(&mut self) -> Look {
        if self.is_in_place() {
            self.lost = None;
            return Look::Unchanged;
        }
        match self.bind_again() {
            Ok(source) => {
                self.lost = None;
                Look::BoundAgain(source)
            }
            Err(problem) if self.lost.replace(problem.kind) == Some(problem.kind) => {
                Look::Unchanged
            }
            Err(problem) => Look::Lost(problem),
        }
    }

    fn bind_again(&mut self) -> Result<Source, Problem> {
        let SocketPlace { transport, path, mode } = &self.place;
        let place = path.display();
        if matches!(self.kept, Kept::Managers(_)) {
            let detail = "the socket file that the service manager made was removed or replaced";
            let remedy = "restart its socket unit";
            return Err(Problem::new(ProblemKind::NotOurs, *transport, place, detail, remedy));
        }
        let (socket, file) = bind_path(*transport, path, *mode)?;
        let set_up = Source::set_up(self.listener, *transport, socket, self.settings);
        let (source, _) = set_up.map_err(|error| {
            Problem::system(*transport, path.display(), "setting up the socket", &error)
        })?;
        self.kept = Kept::Ours(file);
        Ok(source)
    }
}
