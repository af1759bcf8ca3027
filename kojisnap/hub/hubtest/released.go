package hubtest

import (
	"strings"
	"sync"
)

// The recorded hub calls itself 1.35.3, but was built from later sources. What follows is what
// the release of that version lacks of it, found by comparing _listapi and the answers to the
// recorded requests with those of a hub of the release. Besides, the release answers requests
// that are ill-formed or too long with fault 1, not with HTTP 400, which is not imitated.

// releasedSignatures lack listBuilds(promotedBefore, promotedAfter, promoter).
var releasedSignatures = sync.OnceValue(func() map[string]*signature { return readSignatures(map[string]int{"listBuilds": 3}) })

func (s *Server) signatures() map[string]*signature {
	if s.opts.Released {
		return releasedSignatures()
	}
	return signatures()
}

// historyColumns are the data columns that queryHistory shows of a table: of a release not the
// arches of external repos.
func (s *Server) historyColumns(table string) string {
	columns := versioned[table]
	if s.opts.Released && table == "tag_external_repos" {
		return strings.TrimSuffix(columns, ", arches")
	}
	return columns
}
