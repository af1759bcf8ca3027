// Package progress has the types by which packages report their work. The command
// chooses how to show it: as a bar, log lines, JSON, or not at all.
package progress

// Progress receives reports about work. Methods may be called concurrently.
type Progress interface {
	// Begin starts a stage. total < 0: unknown.
	Begin(stage string, total int64) Counter
}

// Counter counts one stage. Methods may be called concurrently.
type Counter interface {
	Add(n int64) // completed units only
	End()        // exactly once, also after failure
}

// FileProgress is a Progress that tells files from bytes.
type FileProgress interface {
	Progress
	// BeginFiles starts a stage of that many files, with that many bytes as far as
	// is known.
	BeginFiles(stage string, files, bytes int64) FileCounter
}

// FileCounter counts files. Methods may be called concurrently.
type FileCounter interface {
	AddFile(bytes int64) // one is complete
	End()                // exactly once, also after failure
}

// BeginFiles starts a stage of files. A Progress that is not a FileProgress sees a
// stage of bytes.
func BeginFiles(p Progress, stage string, files, bytes int64) FileCounter {
	if p, ok := p.(FileProgress); ok {
		return p.BeginFiles(stage, files, bytes)
	}
	return byteCounter{p.Begin(stage, bytes)}
}

type byteCounter struct{ Counter }

func (c byteCounter) AddFile(bytes int64) { c.Add(bytes) }

// Discard is silent.
var Discard Progress = discard{}

// OrDiscard returns p, or Discard if p is nil, as in the zero value of an options
// struct.
func OrDiscard(p Progress) Progress {
	if p == nil {
		return Discard
	}
	return p
}

type discard struct{}

func (discard) Begin(string, int64) Counter { return discard{} }
func (discard) Add(int64)                   {}
func (discard) End()                        {}
