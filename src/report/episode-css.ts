/** The CSS rules of a report's episodes. */
export const episodeCss = `
.episodes .views{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(260px,100%),1fr));gap:22px}
.episodes h3{font-size:15px;font-weight:600;margin:0}
.episodes .view{min-width:0}
.episodes .view>p{margin:0;font-size:13px;font-variant-numeric:tabular-nums}
.stage{position:relative;margin:10px 0 8px;aspect-ratio:4/3;border:1px solid var(--line);border-radius:8px;overflow:hidden;background:linear-gradient(var(--card),var(--ground))}
.stage>*{position:absolute;inset:0;width:100%;height:100%}
.stage>img,.stage>canvas.frames{object-fit:contain;image-rendering:pixelated}
.traces{margin:10px 0}
.strip{border-radius:6px}
.controls{display:flex;align-items:center;gap:8px;margin-top:14px;flex-wrap:wrap}
.controls[hidden]{display:none}
.controls .icon{width:16px;height:16px;margin:auto}
.episodes[data-playing=true] .if-paused,.episodes:not([data-playing=true]) .if-playing{display:none}
.controls button,.controls select,.live button{font:inherit;color:var(--ink);background:var(--ground);border:1px solid var(--line);border-radius:8px;min-width:40px;height:36px;padding:0 10px;cursor:pointer}
.controls button:hover,.live button:hover{border-color:var(--muted)}
.controls button:focus-visible,.controls select:focus-visible,.controls input:focus-visible,.live button:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.controls input{flex:1 1 160px;min-width:120px;accent-color:var(--accent);height:36px}
.controls output{font-size:13px;font-variant-numeric:tabular-nums;min-width:15ch}
.controls label{font-size:13px}
@media print{.controls{display:none}}
`;
