package pull

import "kojisnap/kojisnap/pull/pager"

// WithPager sets how rows are read.
func (o Options) WithPager(p pager.Options) Options {
	o.pager = p
	return o
}

// WithWindows sets about how many rows of the history one reply of a pull of everything has.
func (o Options) WithWindows(rows, changed int64) Options {
	o.windowRows, o.mostChanged = rows, changed
	return o
}

// TagHistory are the versioned relations that queryHistory selects by tag.
func TagHistory() []string { return tagHistory }
