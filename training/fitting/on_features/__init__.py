"""What is fitted and asked on the features of a frozen backbone, without a network: seconds, and few images do."""
