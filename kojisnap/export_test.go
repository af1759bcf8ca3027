package kojisnap

// Staged are the builds that a load puts on the copy volume.
var Staged = staged
