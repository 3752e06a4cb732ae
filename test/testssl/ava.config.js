/** What needs testssl.sh and minutes: not part of `npm test`, run by `npm run test:testssl`. */
export default {
  extensions: ['ts'],
  files: ['test/testssl/**/*.test.ts'],
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
  workerThreads: false,
  concurrency: 1,
  timeout: '15m',
}
