/** §12.3: a log filter must be CEL. Verdicts are those of Istio's own parser. */
import test from 'ava'

import { expressionFault } from '#policy/dialects/istio/expression.ts'

const GOOD = [
  'response.code >= 400',
  "connection.mtls && request.url_path.contains('v1')",
  'has(a.b) ? !!c : --d',
  'a.exists(x, x > 1) || a.map(x, y, z)[0] in [1, 2,]',
  '{"k": 1u, b"x": 0x1F,}',
  'A.b{c: 1.5e3} // why not',
  '"""a"b"""',
  String.raw`r"\q" + "\x41\101\u00e9\U0001F600"`,
  '-9223372036854775808',
  'a.`b-c/d`',
]
const BAD = [
  '',
  '  ',
  'a = b',
  'a & b',
  'a.',
  'a..b',
  '(a',
  'a ? b',
  'has(a)',
  'a.all(1, x)',
  'as',
  'a.in',
  'a b',
  '"a',
  String.raw`"\q"`,
  String.raw`"\ud800"`,
  '!-a',
  '1.',
  '9223372036854775808',
  'f(b,)',
  '(a.b){c: 1}',
  '('.repeat(1000),
]

for (const text of GOOD)
  test(`${text} is an expression`, (t) => t.is(expressionFault(text), undefined))
for (const text of BAD)
  test(`${JSON.stringify(text.slice(0, 20))} is no expression`, (t) =>
    t.regex(expressionFault(text) ?? '', /^expected an expression in CEL/))
