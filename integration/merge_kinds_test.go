package integration_test

// mergeKinds are what must all have happened, by what is told of it.
var mergeKinds = []string{
	// Production, the scope of pulls, and loads.
	"^production: tagged ", "^production: untagged ", "^production: retagged ", "^production: moved ", "^production: new build ", "^production: build .* ended in state 1",
	"^production: deleted build ", "^production: reset build ", "^production: recycled build ", "^production: rebuilt ", "^production: imported rpm ",
	"^production: signed ", "^production: removed the signature ", "^production: moved build .* to volume", "^production: promoted draft ", "^production: the import of event .* committed",
	"^production: tag .* swap names", "^production: users .* swap names", "^production: .* takes its name", "^production: tag .* is renamed", "^production: deleted tag ",
	"^production: new target ", "^production: new external repo ", "^production: new channel ", "^production: new permission ", "^production: maven info ",
	"^production: edited tag ", "^production: edited group ", "^production: edited how ", "^production: changed the owner of build ",
	"^the scope is .*f42-compose\"\\]", "^the scope is .*f43-build\"\\]", "^an older snapshot: ", "^the store loses snapshot ", "^a full pull", "^a pull that is not loaded", "^refused for conflicts",
	// Staging.
	"^staging: new build of ", "^staging: imported .*production's build ", "^staging: imported production's rpm ", "^staging: tagged build .* as production did", "^staging: tagged build \\d+ into \\d+$",
	"^staging: untagged ", "^staging: new tag ", "^staging: deleted tag ", "^staging: renamed tag ", "^staging: renamed users ", "^staging: swapped the names of ",
	"^staging: new users ", "^staging: new package ", "^staging: new target ", "^staging: edited target ", "^staging: edited the config ", "^staging: edited extra ",
	"^staging: edited how ", "^staging: listed package ", "^staging: edited group ", "^staging: edited the url ", "^staging: tag .* uses external repo ",
	"^staging: resubmitted ", "^staging: finished ", "^staging: deleted build ", "^staging: reset build ", "^staging: promoted draft ", "^staging: signed ", "^staging: imported what draft ", "^staging: imported an rpm of draft ", "^staging: signed .*as production did", "^staging: removed signature ",
	"^staging: moved build ", "^staging: build .* is user ", "^staging: new image ", "^staging: used buildroot ", "^staging: imported an rpm ", "^staging: maven info ",
	"^staging: took back the edit ", "^staging: renamed build ", "^staging: blocked or unblocked ",
	// What loads found, by relation and reason.
	"^build: .* is staging's id ", "^build: .*staging made the build its own", "^build: .*staging changed it", "^build: .*staging moved it",
	"^build: .*it is promoted, but ", "^rpminfo: .* is staging's id ", "^rpminfo: .*production deleted it, but ", "^rpmsigs: .*staging deleted it", "^rpmsigs: .*staging has one of its own",
	"^tag: .*staging changed it", "^tag: .* is staging's id ", "^users: .* is staging's id ", "^channels: .*it is staging's ", "^tag_listing: .*staging removed it", "^tag_listing: .*staging has its own",
	"^tag_config: .*staging has its own", "^tag_listing: .*its build .* was left out",
}
