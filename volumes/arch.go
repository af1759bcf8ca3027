package volumes

// TakesArch returns a function that reports whether a compose of the wanted arches takes rpms
// of an arch: noarch and source rpms and those of compatible arches are among them.
func (want Want) TakesArch() func(arch string) bool {
	w := newWanted(want)
	return func(arch string) bool { return w.arches == nil || w.arches[arch] }
}
