/** What needs programs of others: not part of `npm test`, run by `npm run test:clients`. */
export default {
  extensions: ['ts'],
  files: ['test/clients/**/*.test.ts'],
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
  workerThreads: false,
  concurrency: 2,
  timeout: '120s',
}
