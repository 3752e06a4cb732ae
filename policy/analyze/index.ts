export type { Analysis } from './analyze.ts'
export { analyze } from './analyze.ts'
export type { CodeMeaning, Finding, FindingCode, Severity } from './finding.ts'
export { CODES } from './finding.ts'
