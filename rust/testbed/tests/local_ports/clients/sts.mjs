// Asks STS at the URL that it is told who it is, by the AWS SDK as it comes. An answer that is not STS's ends it.
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';

// No retries: the first answer is what counts.
const client = new STSClient({ endpoint: process.argv[2], maxAttempts: 1 });
void client.send(new GetCallerIdentityCommand()).then(({ Account }) => console.log('account', Account));
