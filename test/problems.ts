import { App, Stack, Stage } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { IConstruct } from 'constructs';

/** What the synthesis of an app refuses, as "[path] problem": empty where it goes through. */
export function problems(scope: IConstruct): string[] {
  try {
    (scope.node.root as App | Stage).synth({ force: true });
    return [];
  } catch (error) {
    const [first, ...lines] = (error as Error).message.split('\n').map((line) => line.trim());
    if (!first.startsWith('Validation failed')) {
      throw error;
    }
    return lines.filter((line) => line !== '');
  }
}

/** The constructs' own warnings in a stack, as "/path message [ack: id]". */
export function warnings(stack: Stack): string[] {
  return Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp('tailscale-lambda-proxy:')).map(({ id, entry }) => `${id} ${String(entry.data)}`);
}
