/* Compiled by the plain compiler, and by grasp-cc where that is to be accepted. */
int foreign(int x);

int foreign(int x)
{
    return x;
}
