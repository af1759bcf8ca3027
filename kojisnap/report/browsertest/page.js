// Functions that the tests call in the page. Nothing of this is in the page itself.
window.looks = {
	// colour returns [r, g, b, a] of a computed colour.
	known: new Map(),
	colour(text) {
		if (!this.known.has(text)) this.known.set(text, this.paint(text));
		return this.known.get(text);
	},
	paint(text) {
		const c = document.createElement('canvas');
		c.width = c.height = 1;
		const x = c.getContext('2d', { willReadFrequently: true });
		x.fillStyle = text;
		x.fillRect(0, 0, 1, 1);
		return [...x.getImageData(0, 0, 1, 1).data].map((v, i) => i == 3 ? v / 255 : v);
	},
	over(top, below) { return [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1); },
	light(c) {
		const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	},
	ratio(a, b) {
		const [x, y] = [this.light(a), this.light(b)].sort((p, q) => q - p);
		return (x + 0.05) / (y + 0.05);
	},
	behind(e) {
		const layers = [];
		for (; e; e = e.parentElement) layers.push(this.colour(getComputedStyle(e).backgroundColor));
		let c = matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0, 1] : [255, 255, 255, 1];
		for (const l of layers.reverse()) c = this.over(l, c);
		return c;
	},
	shown(e) {
		const r = e.getBoundingClientRect();
		return e.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true }) && r.width > 1 && r.height > 1 && !e.closest('.vh');
	},
	// faint returns the texts and the bars that do not stand out from what is behind them, by WCAG 2.2.
	faint() {
		const bad = [];
		let n = 0;
		const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		while (walk.nextNode()) {
			const e = walk.currentNode.parentElement;
			if (!walk.currentNode.data.trim() || e.closest('title') || !this.shown(e)) continue;
			n++;
			const s = getComputedStyle(e), px = parseFloat(s.fontSize), big = px >= 24 || px >= 18.66 && s.fontWeight >= 700;
			const back = this.behind(e), got = this.ratio(this.over(this.colour(s.color), back), back);
			if (got < (big ? 3 : 4.5)) bad.push(`${got.toFixed(2)}: "${walk.currentNode.data.trim().slice(0, 40)}" in ${e.tagName}.${e.className}`);
		}
		for (const e of document.querySelectorAll('svg .bar, svg .used')) {
			if (!this.shown(e) || e.classList.contains('failed')) continue;
			const back = this.behind(e.closest('figure, section, li'));
			const got = this.ratio(this.over(this.colour(getComputedStyle(e).fill), back), back);
			if (got < 3) bad.push(`${got.toFixed(2)}: a bar`);
		}
		return { texts: n, bad: [...new Set(bad)].slice(0, 20) };
	},
	// wide returns what makes the page itself scroll sideways.
	wide() {
		const root = document.documentElement;
		if (root.scrollWidth <= root.clientWidth) return [];
		return [`${root.scrollWidth} of ${root.clientWidth} px`, ...[...document.body.querySelectorAll('*')].filter(e => !e.parentElement.closest('.scroll') && e.getBoundingClientRect().right > root.clientWidth + 1)
			.slice(0, 10).map(e => `${e.tagName}.${e.className} to ${Math.round(e.getBoundingClientRect().right)}`)];
	},
	stops() {
		return [...document.querySelectorAll('a[href], summary, input, [tabindex="0"]')].filter(e =>
			e.matches('.pick') ? e.checked : e.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true }));
	},
	// focus says what has the focus: its place among the stops, and whether people can see it.
	focus() {
		const e = document.activeElement;
		if (!e || e === document.body) return { at: -1, name: '', seen: false };
		const shows = e.matches('.pick') ? document.querySelector(`label[for=${e.id}]`) : e;
		const s = getComputedStyle(shows);
		return { at: this.stops().indexOf(e), name: `${e.tagName} ${e.id || e.textContent.trim().slice(0, 30)}`, seen: s.outlineStyle != 'none' && parseFloat(s.outlineWidth) >= 2 };
	},
};
