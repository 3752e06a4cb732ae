/** `redoubt analyze`: what is valid and still wrong, with file, line and what to do. */
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import { analyze as analyzeManifests, type Analysis, type Finding } from '#policy/analyze/index.ts'
import { DeployError } from '../../error.ts'
import { type Command, flagOption, type Input, type Io, listOption } from '../command.ts'
import { readManifestFiles } from '../manifest-files.ts'
import { FILE_OPTION, readLive } from '../manifest-source.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'
import { STATE_OPTION } from '../state-option.ts'

export const analyze: Command = {
  name: 'analyze',
  summary: 'find what is valid and still wrong: dead rules, open doors, names that nothing has',
  arguments: [{ name: 'PATH...', summary: 'more files or directories' }],
  options: [
    FILE_OPTION,
    STATE_OPTION,
    { flags: '--fix', summary: 'write the repairs that are certain into the files' },
    OUTPUT_OPTION,
  ],
  examples: [
    { what: 'Look through the sample', command: 'redoubt analyze -f deploy/samples/qotm' },
    {
      what: 'Only what matters, for a script',
      command:
        'redoubt analyze -f deploy/samples/qotm --output json | jq \'select(.severity == "error")\'',
    },
  ],
  async run(io, input, signal) {
    const paths = [...listOption(input, 'file'), ...input.arguments]
    const isLive = paths.length === 0
    if (isLive && flagOption(input, 'fix')) {
      throw new DeployError('DEPLOY_USAGE', 'Cannot fix the running mesh: expected files with -f')
    }
    const files = isLive ? await readLive(io, input, signal) : await readManifestFiles(io, paths)
    let analysis = analyzeManifests(files)
    if (analysis.documents === 0) {
      const where = paths.join(' ')
      throw new DeployError('DEPLOY_USAGE', `Cannot analyze ${where}: there is no document in it`)
    }
    if (flagOption(input, 'fix')) {
      await writeRepairs(io, analysis)
      analysis = analyzeManifests(
        files.map((file) => analysis.repaired.find(({ path }) => path === file.path) ?? file),
      )
    }
    report(io, input, analysis)
    return analysis.findings.some(({ severity }) => severity !== 'info') ? 1 : 0
  },
}

async function writeRepairs(io: Io, { repaired, findings }: Analysis): Promise<void> {
  for (const { path, text } of repaired) {
    if (path === '-') {
      throw new DeployError('DEPLOY_USAGE', 'Cannot fix standard input: expected files')
    }
    await writeFile(resolve(io.cwd, path), text)
    const own = findings.filter(({ file, fixable }) => fixable && file === path)
    for (const { line, code, message } of own) io.err(`fixed ${path}:${line} ${code} ${message}`)
  }
}

function report(io: Io, input: Input, analysis: Analysis): void {
  const format = outputFormat(input)
  const { findings, withoutWorkloads } = analysis
  if (withoutWorkloads) {
    io.err(
      'note: no Workload is among the manifests, so selectors, identities and ports were not held against any',
    )
  }
  if (format === 'text') for (const line of textLines(io, analysis)) io.out(line)
  else for (const finding of findings) print(io, format, finding, () => [])
}

function textLines(io: Io, { findings, documents }: Analysis): readonly string[] {
  const looked = `${documents} document${documents === 1 ? '' : 's'}`
  if (findings.length === 0) return [paint(io, 'green', `${looked}, nothing found`)]
  const count = (severity: Finding['severity'], word: string): readonly string[] => {
    const number = findings.filter((one) => one.severity === severity).length
    return number === 0 ? [] : [`${number} ${word}${number === 1 || word === 'info' ? '' : 's'}`]
  }
  const counts = [
    ...count('error', 'error'),
    ...count('warning', 'warning'),
    ...count('info', 'info'),
  ]
  const fixable = findings.filter((one) => one.fixable).length
  return [
    ...findings.flatMap((finding) => findingLines(io, finding)),
    `${looked}: ${counts.join(', ')}${fixable === 0 ? '' : `; --fix repairs ${fixable}`}`,
  ]
}

const STYLES = { error: 'red', warning: 'yellow', info: 'cyan' } as const

function findingLines(io: Io, finding: Finding): readonly string[] {
  const { severity, code, kind, namespace, name, file, line, message, hint } = finding
  const object =
    name === '' ? kind || 'document' : `${kind} ${namespace ? `${namespace}/` : ''}${name}`
  return [
    `${paint(io, STYLES[severity], severity)} ${paint(io, 'bold', code)} ${paint(io, 'dim', `${file}:${line}`)} ${object}`,
    `    ${message}`,
    ...(hint === '' ? [] : [`    ${paint(io, 'dim', `→ ${hint}`)}`]),
  ]
}
