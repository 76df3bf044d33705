// Reads a JSON list of LaTeX displays; writes, for KaTeX and MathJax, what each says of those that it cannot set.
const fs = require('fs');
const katex = require('katex');
const {mathjax} = require('mathjax-full/js/mathjax.js');
const {TeX} = require('mathjax-full/js/input/tex.js');
const {SVG} = require('mathjax-full/js/output/svg.js');
const {liteAdaptor} = require('mathjax-full/js/adaptors/liteAdaptor.js');
const {RegisterHTMLHandler} = require('mathjax-full/js/handlers/html.js');
require('mathjax-full/js/input/tex/AllPackages.js');

const adaptor = liteAdaptor();
RegisterHTMLHandler(adaptor);
// Those that MathJax loads by itself, without `noundefined` and `noerrors`, which set unknown commands in red.
const packages = ['base', 'ams', 'newcommand'];
const input = () => new TeX({packages, formatError(jax, error) { throw error; }});
const output = {katex: {}, mathjax: {}};
JSON.parse(fs.readFileSync(0, 'utf8')).forEach((display, i) => {
  try {
    katex.renderToString(display, {displayMode: true, throwOnError: true, strict: 'ignore'});
  } catch (error) {
    output.katex[i] = error.message;
  }
  try {
    const html = mathjax.document('', {InputJax: input(), OutputJax: new SVG({fontCache: 'none'})});
    adaptor.outerHTML(html.convert(display, {display: true}));
  } catch (error) {
    output.mathjax[i] = error.message;
  }
});
console.log(JSON.stringify(output));
