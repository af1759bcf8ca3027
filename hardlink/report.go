package hardlink

// Report says what Apply did.
type Report struct {
	Present      int    `json:"present"` // files that were there already
	Absent       int    `json:"absent"`  // optional files that production does not have
	Adopted      int    `json:"adopted"` // present files and symlinks that the ledger did not have
	Linked       int    `json:"hardlinked"`
	Reflinked    int    `json:"reflinked"`
	Copied       int    `json:"copied"`
	Spliced      int    `json:"spliced"`
	Fetched      int    `json:"fetched"`
	Symlinked    int    `json:"symlinked"`
	Bytes        int64  `json:"bytes"`         // of files made
	FetchedBytes int64  `json:"fetched_bytes"` // of Bytes, those that came from a URL or a bucket
	Builds       int    `json:"builds"`
	Links        int    `json:"links"`   // symlinks of volumes and on DEFAULT
	Strays       int    `json:"strays"`  // directories left by failed moves, removed
	Removed      int    `json:"removed"` // removed builds
	RemovedFiles int    `json:"removed_files"`
	RemovedBytes int64  `json:"removed_bytes"`
	RemovedLinks int    `json:"removed_links"`
	Stale        int    `json:"stale"`   // removed files and symlinks of wanted builds that production no longer has
	Owned        int    `json:"owned"`   // files, directories and symlinks that got an owner or a mode
	Leaving      int    `json:"leaving"` // builds found unwanted by this run
	Grace        int    `json:"grace"`   // unwanted builds that stay for some time yet
	Kept         []Kept `json:"kept,omitempty"`
}

func (r *Report) count(op Op, bytes int64) {
	switch op {
	case OpLink:
		r.Linked++
	case OpReflink:
		r.Reflinked++
	case OpCopy:
		r.Copied++
	case OpSplice:
		r.Spliced++
	case OpFetch:
		r.Fetched++
		r.FetchedBytes += bytes
	case OpSymlink:
		r.Symlinked++
	}
	r.Bytes += bytes
}
